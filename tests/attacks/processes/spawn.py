"""Starts a program with posix_spawn; success is that it ran."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    _, status = os.waitpid(pid, 0)
    return "it ran" if os.waitstatus_to_exitcode(status) == 7 else None
