"""Aborts, and would leave its memory in a core file; success is the file."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.abort()
