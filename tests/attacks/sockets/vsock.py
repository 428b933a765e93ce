"""Opens a socket to the host of a virtual machine; success is the socket."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(40, socket.SOCK_STREAM, 0) as connection:
        return f"descriptor {connection.fileno()}"
