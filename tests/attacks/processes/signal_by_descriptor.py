"""Sends a neighbour a signal by a descriptor of it (pidfd); success is that it feels it."""

import os
import signal

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    signal.pidfd_send_signal(os.pidfd_open(plants.prey_pid), signal.SIGUSR1)
    return "sent"
