"""Renames the machine; success is that it may. (To the name it has.)"""

import os

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    name = os.uname().nodename.encode()
    return f"sethostname returned {call('sethostname', name, len(name))}"
