"""Asks for one port of the machine (ioperm); success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"ioperm returned {call('ioperm', 0x80, 1, 1)}"
