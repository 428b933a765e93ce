"""Opens a control group's list of processes for writing, to leave its limits; success is the descriptor."""

import contextlib
import os

from tests.attacks.toolkit import Plants

PLACES = ("cgroup.procs", "unified/cgroup.procs", "memory/cgroup.procs", "cpu/cgroup.procs")


def attack(plants: Plants) -> str | None:
    for place in PLACES:
        with contextlib.suppress(OSError):
            return f"{place}: {os.open(f'/sys/fs/cgroup/{place}', os.O_WRONLY)}"
    return None
