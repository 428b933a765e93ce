"""Gives itself another name, to look like somebody else (PR_SET_NAME); success is the name."""

import ctypes

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    call("prctl", 15, b"raylet", 0, 0, 0)
    name = ctypes.create_string_buffer(16)
    call("prctl", 16, name, 0, 0, 0)
    return f"it is called {name.value.decode()}"
