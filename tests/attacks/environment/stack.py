"""Reads its stack upwards from the C library's list of variables, to what the kernel once laid there."""

import ctypes

from tests.attacks.toolkit import Plants, libc

PROOF = "environment"


def attack(plants: Plants) -> str | None:
    address = ctypes.c_void_p.in_dll(libc, "__libc_argv").value or 0
    found = b""
    for page in range(address, (address | 0xFFF) + 1 + (64 << 12), 512):
        found += ctypes.string_at(page, 512)  # reading past the stack's end kills, as it should
        if (place := found.find(b"PLANT-environment-")) >= 0 and len(found) > place + 64:
            return found[place : place + 64].split(b"\0")[0].decode()
    return None
