"""Writes segments of its own into the processor's table (modify_ldt), an old road into the kernel."""

import struct

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    entry = struct.pack("<4I", 0, 0, 0xFFFFF, 0x51)
    return f"modify_ldt returned {call('modify_ldt', 1, entry, len(entry))}"
