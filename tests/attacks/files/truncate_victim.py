"""Cuts a file off without opening it; success is the empty file."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.truncate(plants.victim, 0)
    return "cut off"
