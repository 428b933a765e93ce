"""Reads the disk past its file system; success is its first bytes."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    found = next(f"/dev/{name}" for name in ("vda", "sda", "nvme0n1", "xvda") if os.path.exists(f"/dev/{name}"))
    descriptor = os.open(found, os.O_RDONLY)
    return f"{found}: {os.read(descriptor, 512)[:8].hex()}"
