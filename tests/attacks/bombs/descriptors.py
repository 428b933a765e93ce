"""Opens descriptors by the thousand; success is 1,500 at once."""

import contextlib
import os
import resource

from tests.attacks.toolkit import Plants, limited


def attack(plants: Plants) -> str | None:
    with contextlib.suppress(OSError):
        limited(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    opened = [os.dup(plants.control_fd) for _ in range(1500)]
    return f"{len(opened)} descriptors"
