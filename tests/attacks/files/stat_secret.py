"""Asks for the size and times of the secret file: what exists is something to know. Success is the size."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"{os.stat(plants.secret).st_size} bytes"
