"""Queues a signal with forged data for a neighbour (rt_sigqueueinfo); success is that it feels it."""

import signal

from tests.attacks.toolkit import Plants, call

WITNESS = True


def attack(plants: Plants) -> str | None:
    info = bytes([signal.SIGUSR1]).ljust(8, b"\0") + (-1 & 0xFFFFFFFF).to_bytes(4, "little") + bytes(116)
    return f"returned {call('rt_sigqueueinfo', plants.prey_pid, int(signal.SIGUSR1), info)}"
