"""Lays a filter of its own over its system calls, which may answer for the kernel; success is that it may."""

import ctypes
import struct

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    class Program(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    call("prctl", 38, 1, 0, 0, 0)  # no new privileges, or only root may
    program = Program(1, struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000))
    return f"seccomp returned {call('seccomp', 1, 0, ctypes.byref(program))}"
