"""Writes into a neighbour's memory (process_vm_writev); success is what the neighbour then finds in it."""

import ctypes

from tests.attacks.toolkit import IoVec, Plants, call

WITNESS = True


def attack(plants: Plants) -> str | None:
    word = ctypes.create_string_buffer(b"a candidate was here")
    here, there = IoVec(ctypes.addressof(word), 20), IoVec(plants.prey_address, 20)
    return f"{call('process_vm_writev', plants.prey_pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)} bytes"
