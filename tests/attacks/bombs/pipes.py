"""Opens pipes by the hundred; success is 200 at once."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return f"{len([os.pipe() for _ in range(200)])} pipes"
