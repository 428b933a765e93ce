"""Asks how nice a neighbour is, to the processor and to disks; success is a number."""

import os

from tests.attacks.toolkit import Plants, any_of, call


def attack(plants: Plants) -> str | None:
    return any_of(
        lambda: os.getpriority(os.PRIO_PROCESS, plants.prey_pid),
        lambda: call("ioprio_get", 1, plants.prey_pid),
    )
