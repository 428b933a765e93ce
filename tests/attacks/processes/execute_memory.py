"""Becomes a program that is in no file but in memory (memfd_create, execveat); success is its word.

The program is made on the spot: an ELF header and instructions that write to the folder through the shell's place.
"""

import os
import struct

from tests.attacks.toolkit import Plants, call

WITNESS = True
AT_EMPTY_PATH, BASE = 0x1000, 0x400000


def attack(plants: Plants) -> str | None:
    path = f"{plants.folder}/by-memory".encode() + b"\0"
    # lea rdi, [rip+14+4]; mov esi, 0o755; mov eax, mkdir; syscall; xor edi, edi; mov eax, exit; syscall
    code = bytes.fromhex("488d3d15000000beed010000b8530000000f0531ffb83c0000000f05") + path
    header = (
        b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, 120 + len(code), 120 + len(code), 0x1000)
    program = call("memfd_create", b"program", 0)
    os.write(program, header + segment + code)
    return str(call("execveat", program, b"", None, None, AT_EMPTY_PATH))
