"""Makes a child that belongs to its parent (CLONE_PARENT), so that it outlives it; success is the child."""

import os
import signal

from tests.attacks.toolkit import Plants, call

CLONE_PARENT = 0x8000


def attack(plants: Plants) -> str | None:
    pid = call("clone", CLONE_PARENT | int(signal.SIGCHLD), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return f"a sibling with pid {pid} ran"
