"""Asks which processors a neighbour may use; success is an answer."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"processors {os.sched_getaffinity(plants.prey_pid)}"
