"""Spins for ever and ignores every signal that it can; success outside is that asking does not end it."""

import contextlib
import signal

from tests.attacks.toolkit import Plants

LASTS, DEADLINE_S = True, 0.3


def attack(plants: Plants) -> str | None:
    for number in range(1, signal.NSIG):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        pass
