"""Goes over into a neighbour's namespaces by their files in /proc; success is that it may."""

import os

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"setns returned {call('setns', os.open(f'/proc/{plants.prey_pid}/ns/ipc', os.O_RDONLY), 0)}"
