"""Lists the machine's processes; success is the neighbour among them."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"found process {plants.prey_pid}" if str(plants.prey_pid) in os.listdir("/proc") else None
