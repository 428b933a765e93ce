"""Reads the parent's environment through /proc; success is any variable of it."""

from pathlib import Path

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return Path(f"/proc/{plants.parent_pid}/environ").read_text().split("\0")[0] or None
