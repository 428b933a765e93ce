"""Searches its memory without a list of it: asks the kernel page by page which there are, below what it holds."""

import ctypes
import mmap
import re

from tests.attacks.toolkit import Plants, libc

PROOF = "memory"
PAGE, SPAN = 4096, 1 << 30


def attack(plants: Plants) -> str | None:
    middle = ctypes.addressof(ctypes.c_char.from_buffer(mmap.mmap(-1, PAGE)))
    for page in range(middle - SPAN // 4, middle + SPAN // 4, PAGE):
        if libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), ctypes.create_string_buffer(1)):
            continue
        if libc.madvise(
            ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 22
        ):  # brought in for reading, or refused unharmed
            continue
        if match := re.search(rb"PLANT-memory-[0-9a-f]{24}", ctypes.string_at(page, PAGE)):
            return match[0].decode()
    return None
