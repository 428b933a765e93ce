"""Reserves a terabyte of addresses; success is that it may."""

import mmap

from tests.attacks.toolkit import Plants

MAP_NORESERVE = 0x4000


def attack(plants: Plants) -> str | None:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    return f"{len(mmap.mmap(-1, 1 << 40, flags=flags)) >> 30} GiB reserved"
