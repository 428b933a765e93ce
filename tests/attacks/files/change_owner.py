"""Gives a file to another user, which Landlock does not guard; success is the new owner."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.chown(plants.victim, 12345, 12345)
    return "changed"
