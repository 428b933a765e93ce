"""Recurses through C without end; success is that it comes back from a million levels."""

import sys

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    sys.setrecursionlimit(1 << 30)

    def down(level: int) -> int:
        return level if level == 1_000_000 else max(map(down, (level + 1,)))

    try:
        return f"{down(0)} levels"
    except RecursionError:  # from 3.12 on Python bounds this itself
        return None
