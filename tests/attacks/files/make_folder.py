"""Makes a folder; success is the folder."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.mkdir(f"{plants.folder}/made")
    return "made"
