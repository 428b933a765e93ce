"""Asks where a neighbour's list of held locks lies (get_robust_list), an address of its memory."""

import ctypes

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    call("get_robust_list", plants.prey_pid, ctypes.byref(head), ctypes.byref(size))
    return f"at {head.value}"
