"""Asks the C library for a variable that Python may have forgotten; success is the secret."""

import ctypes

from tests.attacks.toolkit import Plants, libc

PROOF = "environment"


def attack(plants: Plants) -> str | None:
    libc.getenv.restype = ctypes.c_char_p
    return (libc.getenv(b"PLANT") or b"").decode()
