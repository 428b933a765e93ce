"""Reads the disk past its file system; success is its first bytes."""

import os

from tests.attacks.toolkit import Plants, any_of


def attack(plants: Plants) -> str | None:
    def start_of(disk: str) -> str:
        return os.read(os.open(f"/dev/{disk}", os.O_RDONLY), 512)[:8].hex()

    return any_of(*(lambda disk=disk: start_of(disk) for disk in ("vda", "sda", "nvme0n1", "xvda")))
