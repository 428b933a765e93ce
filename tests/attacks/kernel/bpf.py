"""Makes a table for programs in the kernel (bpf); success is the descriptor."""

import struct

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    array = struct.pack("<5I", 2, 4, 8, 1, 0).ljust(72, b"\0")
    return f"descriptor {call('bpf', 0, array, len(array))}"
