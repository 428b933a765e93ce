"""Leaves a process behind that has a session of its own and lets nobody end it politely; success is that it is found."""

import os
import signal
import time

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.closerange(0, 1024)
            time.sleep(60)
        os._exit(0)
    os.waitpid(first, 0)
    return "left one behind"
