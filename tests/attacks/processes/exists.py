"""Asks whether a process is there, by a signal that is none; success is the answer."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os.kill(plants.prey_pid, 0)
    return f"process {plants.prey_pid} is there"
