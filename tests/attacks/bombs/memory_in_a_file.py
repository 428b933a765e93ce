"""Fills memory that counts to no process: a file in memory, written and never mapped; success is twice what it may have."""

import os

from tests.attacks.toolkit import Plants, call

DEADLINE_S = 10.0


def attack(plants: Plants) -> str | None:
    descriptor = call("memfd_create", b"held", 0)
    piece, written = b"x" * (8 << 20), 0
    while written < 2 * plants.memory_bytes:
        written += os.write(descriptor, piece)
    return f"{written >> 20} MiB held"
