"""Opens a socket that hears every packet of the machine; success is the socket."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as connection:
        return f"descriptor {connection.fileno()}"
