"""Makes a named pipe to talk to others through; success is the pipe."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.mkfifo(f"{plants.folder}/pipe")
    return "made"
