"""Makes a file in /dev/shm, where neighbours' memory lies; success is the file."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    path = f"/dev/shm/attack-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR))
    os.unlink(path)
    return path
