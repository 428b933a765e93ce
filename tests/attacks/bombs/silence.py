"""Ends without a word; success would be that something is left, or that somebody waits beyond the deadline."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    os._exit(0)
