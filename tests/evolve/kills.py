"""Kills in the midst of changes of the disk, within this process: from the n-th change on nothing reaches the disk any more.

As good as kill -9 for what is on the disk afterwards (what a dead process cannot do, its ``finally`` cannot do either), and
a thousand times as fast; `foundry` kills processes for good.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.evolve.foundry import CHANGES

MOMENTS = ("before", "midst", "after")


class Killed(BaseException):
    """The process is dead: nothing that it does from now on reaches the disk."""


@contextmanager
def killed_at(point: int, moment: str) -> Iterator[Callable[[], int]]:
    """Kills what runs within at its n-th change of the disk, counted from 1: before it, in the midst of it, or after it.

    Yields what tells how many changes there were.
    """
    count = 0

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                return real(*arguments, **named)
            count += 1
            if count < point:
                return real(*arguments, **named)
            if count == point and moment == "after":
                real(*arguments, **named)
            elif count == point and moment == "midst" and name == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            raise Killed

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        yield lambda: count


def points_of(act: Callable[[], object]) -> list[tuple[int, str]]:
    """Returns every (change, moment) at which something can be killed; it is done twice for that: the first time syncs
    folders that this process has not seen yet."""
    act()
    with killed_at(10**9, "before") as changes:
        act()
        return [(point, moment) for point in range(1, changes() + 1) for moment in MOMENTS]
