"""Floods its standard output; success is 64 MiB that somebody took and that are not thrown away."""

import os
import stat

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    if stat.S_ISCHR(os.fstat(1).st_mode):
        return None
    written = sum(os.write(1, bytes(1 << 20)) for _ in range(64))
    os.ftruncate(1, 0)
    return f"{written >> 20} MiB written"
