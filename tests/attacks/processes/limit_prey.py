"""Sets a neighbour's limits (prlimit); success is that it may. (To what they are.)"""

import resource

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    limits = resource.prlimit(plants.prey_pid, resource.RLIMIT_NOFILE)
    resource.prlimit(plants.prey_pid, resource.RLIMIT_NOFILE, limits)
    return f"it may: {limits}"
