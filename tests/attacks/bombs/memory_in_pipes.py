"""Fills memory that counts to no process: the buffers of pipes; success is 64 MiB of it."""

import contextlib
import fcntl
import os

from tests.attacks.toolkit import Plants

F_SETPIPE_SZ = 1031
WANTED = 64 << 20


def attack(plants: Plants) -> str | None:
    held = 0
    while held < WANTED:
        _, sink = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(sink, F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(sink, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                held += os.write(sink, bytes(4096))
    return f"{held >> 20} MiB held"
