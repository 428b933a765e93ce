"""Leaves its process group, so that killing the group misses it; success is a new group."""

import os

from tests.attacks.toolkit import Plants, in_child


def attack(plants: Plants) -> str | None:
    def start() -> int:
        pid = os.fork()
        if pid == 0:
            os.setsid()
        return pid

    return in_child(start)
