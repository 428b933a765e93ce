"""Makes a hard link to the secret file; success is the link."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.link(plants.secret, f"{plants.folder}/linked")
    return "linked"
