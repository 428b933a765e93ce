"""Handles its own page faults (userfaultfd), with which kernel races are won; success is the descriptor."""

from tests.attacks.toolkit import Plants, call

USER_MODE_ONLY = 1


def attack(plants: Plants) -> str | None:
    return f"descriptor {call('userfaultfd', USER_MODE_ONLY)}"
