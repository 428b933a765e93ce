"""Lowers a neighbour's priority; success is that it may. (By nothing: the value it has.)"""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os.setpriority(os.PRIO_PROCESS, plants.prey_pid, os.getpriority(os.PRIO_PROCESS, plants.prey_pid))
    return "it may"
