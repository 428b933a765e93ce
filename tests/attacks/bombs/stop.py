"""Stops itself (SIGSTOP), so that whoever waits for it waits; success outside is that asking does not end it."""

import os
import signal

from tests.attacks.toolkit import Plants

LASTS, DEADLINE_S = True, 0.3


def attack(plants: Plants) -> str | None:
    os.kill(os.getpid(), signal.SIGSTOP)
    return None
