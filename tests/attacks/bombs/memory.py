"""Fills twice the memory it may have, page by page; success is that it holds it."""

import mmap

from tests.attacks.toolkit import Plants

DEADLINE_S = 10.0


def attack(plants: Plants) -> str | None:
    size = 2 * plants.memory_bytes
    region = mmap.mmap(-1, size)
    for page in range(0, size, 4096):
        region[page] = 1
    return f"{size >> 20} MiB held"
