"""Raises its own priority; success is the new one."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"nice {os.nice(-5)}"
