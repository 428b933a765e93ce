"""Reads the parent's memory through /proc; success is the secret in it."""

import os

from tests.attacks.toolkit import Plants, text_of

PROOF = "memory"


def attack(plants: Plants) -> str | None:
    descriptor = os.open(f"/proc/{plants.parent_pid}/mem", os.O_RDONLY)
    return text_of(os.pread(descriptor, 64, plants.parent_address))
