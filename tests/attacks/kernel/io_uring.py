"""Makes a ring of system calls that no filter sees (io_uring); success is the descriptor."""

import ctypes

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"descriptor {call('io_uring_setup', 4, ctypes.create_string_buffer(120))}"
