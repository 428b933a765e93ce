"""Connects to a neighbour's TCP port by IPv6; success is the secret that it says."""

import socket

from tests.attacks.toolkit import Plants

PROOF = "socket"


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_INET6) as connection:
        connection.connect(("::1", plants.tcp6_port))
        return connection.recv(64).decode()
