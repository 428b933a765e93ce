"""Reads the list of users; success is its first line."""

from pathlib import Path

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return Path("/etc/passwd").read_text().splitlines()[0]
