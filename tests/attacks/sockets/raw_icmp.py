"""Opens a raw socket; success is the socket."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as connection:
        return f"descriptor {connection.fileno()}"
