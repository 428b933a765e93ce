"""Asks to be traced by its parent (PTRACE_TRACEME), which then must attend to each of its signals."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"ptrace returned {call('ptrace', 0, 0, 0, 0)}"
