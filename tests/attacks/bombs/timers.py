"""Makes timers by the thousand, each a piece of kernel memory; success is 5,000 at once."""

import ctypes

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    timer = ctypes.c_int()
    for _ in range(5000):
        call("timer_create", 1, None, ctypes.byref(timer))
    return "5000 timers"
