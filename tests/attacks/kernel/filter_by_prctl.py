"""Lays a filter over its system calls by the older road of prctl; success is that it may."""

import ctypes
import struct

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    class Program(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    call("prctl", 38, 1, 0, 0, 0)
    program = Program(1, struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000))
    return f"prctl returned {call('prctl', 22, 2, ctypes.byref(program), 0, 0)}"
