"""Takes hold of a neighbour by a descriptor (pidfd_open); success is the descriptor."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"descriptor {os.pidfd_open(plants.prey_pid)}"
