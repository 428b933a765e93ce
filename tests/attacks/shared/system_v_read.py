"""Attaches a neighbour's System V shared memory; success is the secret in it."""

import ctypes

from tests.attacks.toolkit import Plants, call

PROOF = "shared"
SHM_RDONLY = 0x1000


def attack(plants: Plants) -> str | None:
    return (ctypes.string_at(call("shmat", plants.shm_id, 0, SHM_RDONLY), 64)).split(b"\0")[0].decode()
