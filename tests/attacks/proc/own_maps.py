"""Reads where its own memory lies; success is the first line."""

from pathlib import Path

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return Path("/proc/self/maps").read_text().splitlines()[0]
