"""Looks at the ring of keys of its session (keyctl); success is the ring."""

from tests.attacks.toolkit import Plants, call

GET_RING_ID, SESSION_RING = 0, -3


def attack(plants: Plants) -> str | None:
    return f"ring {call('keyctl', GET_RING_ID, SESSION_RING, 1)}"
