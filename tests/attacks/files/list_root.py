"""Lists the root of the file system; success is any entry."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return ", ".join(os.listdir("/")) or None
