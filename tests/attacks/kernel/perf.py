"""Counts what the processor does, for itself or for others (perf_event_open); success is the descriptor."""

import struct

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    event = struct.pack("<IIQ", 1, 112, 0).ljust(112, b"\0")  # the processor's time, in software
    return f"descriptor {call('perf_event_open', event, 0, -1, -1, 0)}"
