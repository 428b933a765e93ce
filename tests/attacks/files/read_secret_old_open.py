"""Opens the secret file with the old system call open, by number; success is the secret."""

import os

from tests.attacks.toolkit import Plants, call

PROOF = "file"


def attack(plants: Plants) -> str | None:
    return os.read(call("open", plants.secret.encode(), 0, 0), 64).decode()
