"""Makes a symbolic link to the secret file and reads through it; success is the secret, or the link."""

import os

from tests.attacks.toolkit import Plants

PROOF = "file"


def attack(plants: Plants) -> str | None:
    os.symlink(plants.secret, f"{plants.folder}/link")
    with open(f"{plants.folder}/link") as file:
        return file.read()
