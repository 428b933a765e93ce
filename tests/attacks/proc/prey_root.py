"""Reads the secret file by way of a neighbour's root folder in /proc; success is the secret."""

from pathlib import Path

from tests.attacks.toolkit import Plants

PROOF = "file"


def attack(plants: Plants) -> str | None:
    return Path(f"/proc/{plants.prey_pid}/root{plants.secret}").read_text()
