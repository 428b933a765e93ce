"""Loads code from a file into itself; success is a library that was not there before."""

import ctypes

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"loaded {ctypes.CDLL('libBrokenLocale.so.1')}"
