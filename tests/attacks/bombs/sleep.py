"""Sleeps for ever with every signal blocked; success outside is that asking does not end it."""

import signal
import time

from tests.attacks.toolkit import Plants

LASTS, DEADLINE_S = True, 0.3


def attack(plants: Plants) -> str | None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    while True:
        time.sleep(3600)
