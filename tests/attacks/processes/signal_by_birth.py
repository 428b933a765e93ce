"""Sends the parent that getppid names a signal; success is that the parent feels it."""

import os
import signal

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    if os.getppid() <= 1:
        return None
    os.kill(os.getppid(), signal.SIGUSR1)
    return "sent"
