"""Becomes another program by descriptor (execveat); success is the file that the program makes."""

import ctypes
import os

from tests.attacks.toolkit import Plants, call

WITNESS = True
AT_EMPTY_PATH = 0x1000


def attack(plants: Plants) -> str | None:
    program = os.open("/bin/sh", os.O_RDONLY)
    words = (ctypes.c_char_p * 4)(b"sh", b"-c", f"echo > {plants.folder}/by-execveat".encode(), None)
    return str(call("execveat", program, b"", words, None, AT_EMPTY_PATH))
