"""Opens a file that only a neighbour still holds, through /proc; success is the secret in it."""

import os

from tests.attacks.toolkit import Plants

PROOF = "descriptor"


def attack(plants: Plants) -> str | None:
    descriptor = os.open(f"/proc/{plants.prey_pid}/fd/{plants.prey_fd}", os.O_RDONLY)
    return os.pread(descriptor, 64, 0).decode()
