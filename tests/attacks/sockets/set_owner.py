"""Has the kernel send a neighbour a signal for us, by naming it the owner of our own pipe (F_SETOWN, O_ASYNC)."""

import fcntl
import os
import signal
import time

from tests.attacks.toolkit import Plants

WITNESS = True
F_SETSIG = 10


def attack(plants: Plants) -> str | None:
    source, sink = os.pipe()
    fcntl.fcntl(source, fcntl.F_SETOWN, plants.prey_pid)
    fcntl.fcntl(source, F_SETSIG, signal.SIGUSR1)
    fcntl.fcntl(source, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(sink, b"x")
    time.sleep(0.05)
    return "the kernel was asked"
