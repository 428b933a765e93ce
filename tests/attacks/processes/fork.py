"""Forks; success is the child."""

import os

from tests.attacks.toolkit import Plants, in_child


def attack(plants: Plants) -> str | None:
    return in_child(os.fork)
