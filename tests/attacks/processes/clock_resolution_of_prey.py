"""Asks how fine a neighbour's clock is, which there is only where the process is; success is an answer."""

from tests.attacks.toolkit import Plants, call, clock_of


def attack(plants: Plants) -> str | None:
    return f"it is there: {call('clock_getres', clock_of(plants.prey_pid), None)}"
