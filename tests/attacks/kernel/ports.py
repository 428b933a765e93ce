"""Asks for the machine's input and output ports (iopl); success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"iopl returned {call('iopl', 3)}"
