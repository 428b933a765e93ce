"""Takes real-time priority, so that nobody else runs; success is that it may."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "it may"
