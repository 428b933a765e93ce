"""Sends a neighbour a signal; success is that it feels it."""

import os
import signal

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.kill(plants.prey_pid, signal.SIGUSR1)
    return "sent"
