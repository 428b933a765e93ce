"""Answers with a tensor whose class overrides what others do with it: whoever touches it runs the candidate's code."""

import os

import torch

FELT: list[int] = []


class Hostile(torch.Tensor):
    """Notes in which process it was touched, and gives ones for whatever is asked."""

    @classmethod
    def __torch_function__(cls, function: object, types: object, args: tuple = (), kwargs: object = None) -> object:
        FELT.append(os.getpid())
        return super().__torch_function__(function, types, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> object:
        FELT.append(os.getpid())
        return super().numpy(force=force)

    def __len__(self) -> int:
        FELT.append(os.getpid())
        return 1 << 40

    def __reduce_ex__(self, protocol: object) -> object:
        FELT.append(os.getpid())
        return os.getpid, ()


def act(values: torch.Tensor) -> object:
    return values.clone().as_subclass(Hostile)
