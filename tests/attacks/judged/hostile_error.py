"""Raises an error whose text is a program: it raises again, pretends to be a memory error, and has a name of many lines."""

import torch


class Meta(type):
    """Makes the class's name hostile."""

    def __getattribute__(cls, name: str) -> object:
        if name == "__name__":
            return "ok\n\x1b[2J" * 100_000
        return super().__getattribute__(name)


class Worse(Exception, metaclass=Meta):
    """Raises where it is shown."""

    def __str__(self) -> str:
        raise Worse(self)

    __repr__ = __str__


def act(values: torch.Tensor) -> object:
    raise Worse
