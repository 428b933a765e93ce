"""Goes to the folder with the secret; success is being there."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os.chdir(plants.folder)
    return f"in {plants.folder}"
