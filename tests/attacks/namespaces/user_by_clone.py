"""Makes a child in a user namespace of its own (clone); success is the child."""

import signal

from tests.attacks.toolkit import Plants, call, in_child


def attack(plants: Plants) -> str | None:
    return in_child(lambda: call("clone", 0x10000000 | int(signal.SIGCHLD), 0, 0, 0, 0))
