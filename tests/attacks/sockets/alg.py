"""Opens a socket to the kernel's cryptography, a road of several exploits; success is the socket."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0) as connection:
        connection.bind(("hash", "sha256"))
        return f"descriptor {connection.fileno()}"
