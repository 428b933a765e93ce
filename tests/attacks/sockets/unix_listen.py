"""Opens an abstract socket for others to meet at; success is its name."""

import os
import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0attack-{os.getpid()}")
        listener.listen()
        return "a meeting place"
