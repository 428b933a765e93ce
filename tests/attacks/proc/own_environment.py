"""Reads the environment it was born with, through /proc; success is the secret in it."""

from pathlib import Path

from tests.attacks.toolkit import Plants

PROOF = "environment"


def attack(plants: Plants) -> str | None:
    return Path("/proc/self/environ").read_text()
