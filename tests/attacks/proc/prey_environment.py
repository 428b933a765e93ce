"""Reads a neighbour's environment through /proc; success is the secret in it."""

from pathlib import Path

from tests.attacks.toolkit import Plants

PROOF = "environment"


def attack(plants: Plants) -> str | None:
    return Path(f"/proc/{plants.prey_pid}/environ").read_text()
