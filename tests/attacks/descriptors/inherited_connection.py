"""Writes to the connection that its parent left open; success is that somebody hears it."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    return f"{os.write(plants.control_fd, b'a candidate was here')} bytes"
