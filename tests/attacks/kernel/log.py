"""Reads the kernel's log, addresses and all; success is what it says."""

import ctypes

from tests.attacks.toolkit import Plants, call

READ_ALL = 3


def attack(plants: Plants) -> str | None:
    buffer = ctypes.create_string_buffer(256)
    return f"{call('syslog', READ_ALL, buffer, 256)} bytes of the kernel's log"
