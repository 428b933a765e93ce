"""Asks the kernel to tell of every open file of the machine (fanotify); success is the descriptor."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"descriptor {call('fanotify_init', 0, 0)}"
