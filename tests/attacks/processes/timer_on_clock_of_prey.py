"""Makes a timer on a neighbour's clock; success is the timer."""

import ctypes

from tests.attacks.toolkit import Plants, call, clock_of


def attack(plants: Plants) -> str | None:
    timer = ctypes.c_int()
    call("timer_create", clock_of(plants.prey_pid), None, ctypes.byref(timer))
    return f"timer {timer.value}"
