"""Attaches to its parent as a debugger; success is that it may."""

from tests.attacks.toolkit import Plants, call

PTRACE_SEIZE = 0x4206


def attack(plants: Plants) -> str | None:
    return f"ptrace returned {call('ptrace', PTRACE_SEIZE, plants.parent_pid, 0, 0)}"
