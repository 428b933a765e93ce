"""Asks whether the secret file is there, with access(2); success is the answer."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return "it is there" if os.access(plants.secret, os.F_OK) else None
