"""Opens the kernel's audit channel; success is the socket."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as connection:
        return f"descriptor {connection.fileno()}"
