"""Lists a folder; success is the name of the secret file."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return ", ".join(name for name in os.listdir(plants.folder) if name == "secret") or None
