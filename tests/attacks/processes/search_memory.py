"""Searches all of its memory for what its parent held when it was forked; success is the secret."""

import ctypes
import re

from tests.attacks.toolkit import Plants

PROOF = "memory"


def attack(plants: Plants) -> str | None:
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps]
    for span in (line[0].split("-") for line in lines if line[1].startswith("rw")):
        start, end = (int(side, 16) for side in span)
        if match := re.search(rb"PLANT-memory-[0-9a-f]{24}", ctypes.string_at(start, end - start)):
            return match[0].decode()
    return None
