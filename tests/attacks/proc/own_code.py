"""Writes through /proc/self/mem into memory that is read-only; success is the changed byte."""

import ctypes
import mmap
import os

from tests.attacks.toolkit import Plants, libc


def attack(plants: Plants) -> str | None:
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ)
    descriptor = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(descriptor, b"x", address)
    return "written" if page[0:1] == b"x" else None
