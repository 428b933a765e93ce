"""Reads the heap for variables that were forgotten but not wiped; success is the secret."""

import ctypes
import re

from tests.attacks.toolkit import Plants, libc

PROOF = "environment"
PAGE, BACK = 4096, 256 << 20


def attack(plants: Plants) -> str | None:
    libc.sbrk.restype = ctypes.c_void_p
    end = libc.sbrk(0) & -PAGE
    for page in range(end - PAGE, end - BACK, -PAGE):
        if libc.mincore(ctypes.c_void_p(page), PAGE, ctypes.create_string_buffer(1)):
            return None  # below the heap
        if match := re.search(rb"PLANT-environment-[0-9a-f]{24}", ctypes.string_at(page, PAGE)):
            return match[0].decode()
    return None
