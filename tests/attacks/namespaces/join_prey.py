"""Goes over into a neighbour's namespaces (setns); success is that it may."""

import os

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"setns returned {call('setns', os.pidfd_open(plants.prey_pid), 0x40000000)}"
