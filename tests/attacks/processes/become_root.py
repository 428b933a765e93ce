"""Becomes root, and takes every capability back; success is any capability it then has."""

import contextlib
import ctypes
import os

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    with contextlib.suppress(OSError):
        os.setresuid(0, 0, 0)
    header, data = (0x20080522).to_bytes(4, "little") + bytes(4), ctypes.create_string_buffer(24)
    with contextlib.suppress(OSError):
        call("capset", header, (b"\xff" * 4 + b"\xff" * 4 + bytes(4)) * 2)
    call(125, header, data)  # capget
    effective = int.from_bytes(data.raw[0:4], "little")
    return f"capabilities {effective:x}" if effective else None
