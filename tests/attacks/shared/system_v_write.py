"""Writes into a neighbour's System V shared memory; success is what the neighbour then finds in it."""

import ctypes

from tests.attacks.toolkit import Plants, call

WITNESS = True


def attack(plants: Plants) -> str | None:
    ctypes.memmove(call("shmat", plants.shm_id, 0, 0), b"a candidate was here", 20)
    return "written"
