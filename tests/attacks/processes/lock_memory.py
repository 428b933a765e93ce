"""Locks 128 MiB into memory, which nobody can take back while it lives; success is that it may."""

import ctypes
import mmap

from tests.attacks.toolkit import Plants, libc

SIZE = 128 << 20


def attack(plants: Plants) -> str | None:
    region = mmap.mmap(-1, SIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(SIZE)):
        raise OSError(ctypes.get_errno(), "mlock")
    return f"{SIZE >> 20} MiB locked"
