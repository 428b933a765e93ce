"""Opens devices that talk to the kernel or to a person; success is any of them."""

import contextlib
import os

from tests.attacks.toolkit import Plants

DEVICES = ("kmsg", "mem", "port", "fuse", "kvm", "loop-control", "ptmx", "tty", "userfaultfd", "null", "urandom")


def attack(plants: Plants) -> str | None:
    opened = []
    for name in DEVICES:
        with contextlib.suppress(OSError):
            os.close(os.open(f"/dev/{name}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
            opened.append(name)
    return ", ".join(opened) or None
