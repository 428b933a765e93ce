"""Makes a terminal and pushes input into it (TIOCSTI), as into a shell's; success is a terminal, or the push."""

import fcntl
import os

from tests.attacks.toolkit import Plants

TIOCSTI = 0x5412


def attack(plants: Plants) -> str | None:
    for descriptor in range(3):
        if os.isatty(descriptor):
            fcntl.ioctl(descriptor, TIOCSTI, b"x")
            return f"pushed into {descriptor}"
    return f"a terminal: {os.openpty()}"
