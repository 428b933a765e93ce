"""Sends its parent a signal; success is that the parent feels it."""

import os
import signal

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.kill(plants.parent_pid, signal.SIGUSR1)
    return "sent"
