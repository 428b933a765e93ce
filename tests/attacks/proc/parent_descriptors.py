"""Lists the parent's descriptors through /proc; success is any of them."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    folder = f"/proc/{plants.parent_pid}/fd"
    return ", ".join(os.readlink(f"{folder}/{name}") for name in os.listdir(folder)) or None
