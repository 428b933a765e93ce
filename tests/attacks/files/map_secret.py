"""Loads the secret file as a shared library would be: the loader opens and reads it. Success is that it was opened."""

import ctypes

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    try:
        ctypes.CDLL(plants.secret)
    except OSError as error:
        if "invalid ELF header" in str(error) or "too short" in str(error):
            return f"the loader read it: {error}"
        raise
    return "loaded"
