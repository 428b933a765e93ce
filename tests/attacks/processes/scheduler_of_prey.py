"""Asks how a neighbour is scheduled; success is an answer."""

import ctypes
import os

from tests.attacks.toolkit import Plants, any_of, call


def attack(plants: Plants) -> str | None:
    answer = ctypes.create_string_buffer(64)
    return any_of(
        lambda: os.sched_getscheduler(plants.prey_pid),
        lambda: os.sched_getparam(plants.prey_pid),
        lambda: os.sched_rr_get_interval(plants.prey_pid),
        lambda: call("sched_getattr", plants.prey_pid, answer, 64, 0),
    )
