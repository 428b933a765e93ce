"""Forks children that fork on, up to a hundred; success is that they are found."""

import os
import time

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    for _ in range(100):
        if os.fork() == 0:
            os.closerange(0, 1024)
            time.sleep(60)
            os._exit(0)
    return "forked"
