"""Chooses on which processors a neighbour runs; success is that it may. (On those that it has.)"""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os.sched_setaffinity(plants.prey_pid, os.sched_getaffinity(plants.prey_pid))
    return "it may"
