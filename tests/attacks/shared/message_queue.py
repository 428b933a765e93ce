"""Takes a message out of a neighbour's System V queue (without removing it); success is the secret in it."""

import ctypes

from tests.attacks.toolkit import Plants, call, text_of

PROOF = "shared"
IPC_NOWAIT, MSG_COPY = 0o4000, 0o40000


def attack(plants: Plants) -> str | None:
    buffer = ctypes.create_string_buffer(128)
    call("msgrcv", plants.msg_id, buffer, 100, 0, IPC_NOWAIT | MSG_COPY)
    return text_of(buffer.raw[8:])
