"""Climbs from the working folder it was born with to the root by steps of one; success is the list of users."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    descriptor = os.open("../" * 64 + "etc/passwd", os.O_RDONLY)
    return os.read(descriptor, 32).decode()
