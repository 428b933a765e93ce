"""Memory that two processes share: the parent fills it or reads it, a jailed child sees it and cannot resize it.

Nouns: a *region* (a piece of such memory behind a descriptor).
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from collections.abc import Sequence

from population.errors import JailUnavailable

_SEAL_SEAL, _SEAL_SHRINK, _SEAL_GROW, _SEAL_FUTURE_WRITE = 1, 2, 4, 16
_ADD_SEALS = 1033
ALIGNMENT = 64


class Region:
    """A piece of shared memory that this process maps for reading and writing.

    Args:
        is_writable: whether who is given the descriptor may map it for writing.

    Raises:
        JailUnavailable: the system gives no such memory.
    """

    def __init__(self, size: int, *, is_writable: bool) -> None:
        self.size = max(size, mmap.PAGESIZE)
        self.descriptor = -1
        try:
            self.descriptor = _anonymous_file()
            os.ftruncate(self.descriptor, self.size)
            self.memory = mmap.mmap(self.descriptor, self.size)
        except (OSError, ValueError) as error:
            if self.descriptor >= 0:
                os.close(self.descriptor)
            raise JailUnavailable(
                f"{self.size} bytes of shared memory for judging cannot be had ({error}): free some memory, and raise "
                "the file size limit (ulimit -f) where one is set"
            ) from error
        seals = _SEAL_SEAL | _SEAL_SHRINK | _SEAL_GROW | (0 if is_writable else _SEAL_FUTURE_WRITE)
        with contextlib.suppress(OSError):  # a kernel or a system without seals: the other side maps what it is told to
            fcntl.fcntl(self.descriptor, _ADD_SEALS, seals)

    def fill(self, parts: Sequence[bytes | memoryview]) -> list[int]:
        """Writes the parts one after the other and returns where each begins."""
        offsets, position = [], 0
        for part in parts:
            view = memoryview(part).cast("B")
            self.memory[position : position + len(view)] = view
            offsets.append(position)
            position = aligned(position + len(view))
        return offsets

    def close(self) -> None:
        """Gives up the memory and the descriptor; closing twice changes nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            with contextlib.suppress(BufferError):  # an array still looks at it; it goes with that array
                self.memory.close()


def size_of(parts: Sequence[bytes | memoryview]) -> int:
    """Returns how large a region must be to be filled with these parts."""
    return sum(aligned(memoryview(part).nbytes) for part in parts)


def aligned(position: int) -> int:
    """Returns the next position where a part may begin."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def map_shared(descriptor: int, size: int, *, is_writable: bool) -> mmap.mmap:
    """Maps a region by its descriptor, which may be closed afterwards."""
    return mmap.mmap(descriptor, size, access=mmap.ACCESS_WRITE if is_writable else mmap.ACCESS_READ)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tiles", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
