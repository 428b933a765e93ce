"""Reads what a neighbour has used of the processor, by its clock; success is a number."""

import time

from tests.attacks.toolkit import Plants, clock_of


def attack(plants: Plants) -> str | None:
    return f"{time.clock_gettime(clock_of(plants.prey_pid))} s"
