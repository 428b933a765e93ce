"""Reads the secret file by a relative name, from the working folder that the process was born with."""

import os

from tests.attacks.toolkit import Plants

PROOF = "file"


def attack(plants: Plants) -> str | None:
    descriptor = os.open("secret", os.O_RDONLY)
    return os.read(descriptor, 64).decode()
