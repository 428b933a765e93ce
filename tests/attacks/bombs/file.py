"""Fills the disk; success is a file of 64 MiB."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    descriptor = os.open(f"{plants.folder}/flood", os.O_CREAT | os.O_WRONLY)
    for _ in range(64):
        os.write(descriptor, bytes(1 << 20))
    return "64 MiB written"
