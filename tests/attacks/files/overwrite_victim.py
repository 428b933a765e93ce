"""Writes into a file that is there; success is its new content."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    descriptor = os.open(plants.victim, os.O_WRONLY)
    os.write(descriptor, b"a candidate was here")
    return "overwritten"
