"""Reads where the parent's memory lies, through /proc; success is the first line."""

from pathlib import Path

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return Path(f"/proc/{plants.parent_pid}/maps").read_text().splitlines()[0]
