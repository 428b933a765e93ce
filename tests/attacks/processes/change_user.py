"""Becomes another user, whose files and processes it may then touch; success is the new user."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os.setresuid(12345, 12345, 12345)
    return f"user {os.getuid()}"
