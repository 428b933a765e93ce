"""Leaves a key in a ring of its user's that other processes read (add_key); success is the key."""

from tests.attacks.toolkit import Plants, call

PROCESS_RING = -2


def attack(plants: Plants) -> str | None:
    return f"key {call('add_key', b'user', b'attack', b'x', 1, PROCESS_RING)}"
