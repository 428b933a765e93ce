"""Opens descriptors by the thousand; success is 1,500 at once."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened = [os.dup(plants.control_fd) for _ in range(1500)]
    return f"{len(opened)} descriptors"
