"""Opens the secret file by the x32 table of system calls, whose numbers a filter may not know; success is the secret."""

import os

from tests.attacks.toolkit import SYSCALLS, Plants, call

PROOF = "file"
X32 = 0x40000000


def attack(plants: Plants) -> str | None:
    return os.read(call(X32 | SYSCALLS["open"], plants.secret.encode(), 0, 0), 64).decode()
