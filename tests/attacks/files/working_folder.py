"""Asks for the name of the working folder; success is a folder other than the root."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    found = os.getcwd()
    return found if found.strip("/") and "unreachable" not in found else None
