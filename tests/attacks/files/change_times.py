"""Sets a file's times, which Landlock does not guard; success is the new time."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.utime(plants.victim, (1, 1))
    return "changed"
