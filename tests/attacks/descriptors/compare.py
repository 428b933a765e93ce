"""Asks the kernel whether it shares an open file with its parent (kcmp); success is an answer."""

import os

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"kcmp says {call('kcmp', os.getpid(), plants.prey_pid, 1, 0, 0)}"
