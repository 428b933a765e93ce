"""Opens the secret file by the i386 table of system calls (int 0x80); success is the secret."""

import os

from tests.attacks.toolkit import Plants, int80, low_memory

PROOF = "file"
OPEN = 5


def attack(plants: Plants) -> str | None:
    descriptor = int80(OPEN, low_memory(plants.secret.encode()))
    if descriptor < 0:
        raise OSError(-descriptor, "int 0x80")
    return os.read(descriptor, 64).decode()
