"""Follows a wild pointer; success is to come back."""

import ctypes

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return str(ctypes.string_at(1))
