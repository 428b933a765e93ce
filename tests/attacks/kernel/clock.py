"""Sets the clock's pace (adjtimex) to what it is; success is that it may."""

import ctypes

from tests.attacks.toolkit import Plants, call

ADJ_TICK = 0x4000


def attack(plants: Plants) -> str | None:
    timex = ctypes.create_string_buffer(208)
    call("adjtimex", timex)
    timex[0:4] = ADJ_TICK.to_bytes(4, "little")
    return f"adjtimex returned {call('adjtimex', timex)}"
