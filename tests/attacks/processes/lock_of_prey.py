"""Waits for a lock that a neighbour is said to hold: the kernel looks for it first; success is that it is there."""

import ctypes
import errno

from tests.attacks.toolkit import Plants, any_of, call

#: FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI and FUTEX_LOCK_PI2, for one process and for several
LOCKS = (6, 8, 13, 6 | 128, 8 | 128, 13 | 128)


def attack(plants: Plants) -> str | None:
    soon = (ctypes.c_long * 2)(0, 0)

    def waited(command: int) -> str:
        word = ctypes.c_uint32(plants.prey_pid)
        try:
            call("futex", ctypes.byref(word), command, 0, ctypes.byref(soon), 0, 0)
        except OSError as error:
            if error.errno not in (errno.ETIMEDOUT, errno.EAGAIN):
                raise
        return "it is there"

    return any_of(*(lambda command=command: waited(command) for command in LOCKS))
