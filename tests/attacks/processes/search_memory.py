"""Searches all memory that it can reach for any secret that its parent or a neighbour holds; success is one of them."""

import ctypes
import os

from tests.attacks.toolkit import Plants, libc

PROOF = "memory"


def attack(plants: Plants) -> str | None:
    for start, end in _regions():
        found = ctypes.string_at(start, end - start)
        if (place := found.find(b"PLANT-memory-")) >= 0:
            return found[place : place + 64].decode("latin-1")
    return None


def _regions() -> list[tuple[int, int]]:
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps]
    spans = [line[0].split("-") for line in lines if line[1].startswith("rw") and not line[-1].startswith("[v")]
    return [(int(start, 16), int(end, 16)) for start, end in spans if int(end, 16) - int(start, 16) < 1 << 28]


_ = (os, libc)
