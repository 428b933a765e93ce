"""Changes a file's permissions, which Landlock does not guard; success is the new mode."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.chmod(plants.victim, 0o7777)
    return "changed"
