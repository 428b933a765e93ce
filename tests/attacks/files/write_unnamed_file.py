"""Makes a file without a name (O_TMPFILE); success is its descriptor."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"descriptor {os.open(plants.folder, os.O_TMPFILE | os.O_RDWR)}"
