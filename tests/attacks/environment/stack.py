"""Reads its stack upwards from its program's name, to the variables that the kernel once laid there; success is the secret."""

import ctypes
import re

from tests.attacks.toolkit import Plants, libc

PROOF = "environment"


def attack(plants: Plants) -> str | None:
    address = ctypes.c_void_p.in_dll(libc, "program_invocation_name").value or 0
    found = b""
    for piece in range(address & -8, address + (1 << 20), 8):
        found = found[-128:] + ctypes.string_at(piece, 8)  # reading past the stack's end kills, as it should
        if match := re.search(rb"PLANT-environment-[0-9a-f]{24}", found):
            return match[0].decode()
    return None
