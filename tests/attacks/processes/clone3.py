"""Forks with the system call clone3, whose flags no filter can read; success is the child."""

import signal
import struct

from tests.attacks.toolkit import Plants, call, in_child


def attack(plants: Plants) -> str | None:
    arguments = struct.pack("<8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    return in_child(lambda: call("clone3", arguments, len(arguments)))
