"""Allows itself a core file and dumps it, memory and all; success is a limit that allows it."""

import resource

from tests.attacks.toolkit import Plants, limited


def attack(plants: Plants) -> str | None:
    limited(resource.RLIMIT_CORE, 1 << 20)
    return f"limits {resource.getrlimit(resource.RLIMIT_CORE)}"
