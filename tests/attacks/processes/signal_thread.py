"""Sends a neighbour's thread a signal (tgkill); success is that it feels it."""

import signal

from tests.attacks.toolkit import Plants, call

WITNESS = True


def attack(plants: Plants) -> str | None:
    return f"tgkill returned {call('tgkill', plants.prey_pid, plants.prey_pid, int(signal.SIGUSR1))}"
