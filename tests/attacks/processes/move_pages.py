"""Asks where the pages of a neighbour's memory lie (move_pages); success is an answer."""

import ctypes

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    page, status = ctypes.c_void_p(plants.prey_address), ctypes.c_int()
    call("move_pages", plants.prey_pid, 1, ctypes.byref(page), None, ctypes.byref(status), 0)
    return f"node {status.value}"
