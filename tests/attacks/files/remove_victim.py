"""Removes a file; success is that it is gone."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.unlink(plants.victim)
    return "removed"
