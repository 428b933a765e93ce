"""Writes into a neighbour's memory through /proc; success is what the neighbour then finds in it."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    descriptor = os.open(f"/proc/{plants.prey_pid}/mem", os.O_RDWR)
    return f"{os.pwrite(descriptor, b'a candidate was here', plants.prey_address)} bytes"
