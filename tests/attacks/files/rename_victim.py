"""Gives a file another name; success is the new name."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.rename(plants.victim, f"{plants.folder}/taken")
    return "renamed"
