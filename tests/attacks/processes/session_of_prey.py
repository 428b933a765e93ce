"""Asks for a neighbour's session and group; success is a number."""

import os

from tests.attacks.toolkit import Plants, any_of


def attack(plants: Plants) -> str | None:
    return any_of(lambda: os.getsid(plants.prey_pid), lambda: os.getpgid(plants.prey_pid))
