"""Reads what its parent left open; success is the secret in the file."""

import os

from tests.attacks.toolkit import Plants

PROOF = "file"


def attack(plants: Plants) -> str | None:
    return os.pread(plants.inherited_fd, 64, 0).decode()
