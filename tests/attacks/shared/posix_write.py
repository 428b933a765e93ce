"""Writes into a neighbour's POSIX shared memory; success is what the neighbour then finds in it."""

import mmap
import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    descriptor = os.open(f"/dev/shm/{plants.shm_name}", os.O_RDWR)
    mmap.mmap(descriptor, 4096)[:20] = b"a candidate was here"
    return "written"
