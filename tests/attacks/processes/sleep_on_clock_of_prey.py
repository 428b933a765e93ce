"""Waits until a neighbour has used no processor time, which is now; success is that there is such a clock."""

from tests.attacks.toolkit import Plants, call, clock_of


def attack(plants: Plants) -> str | None:
    return f"it is there: {call('clock_nanosleep', clock_of(plants.prey_pid), 1, bytes(16), None)}"
