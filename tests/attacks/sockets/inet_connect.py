"""Connects to a neighbour's TCP port on the loopback; success is the secret that it says."""

import socket

from tests.attacks.toolkit import Plants

PROOF = "socket"


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_INET) as connection:
        connection.connect(("127.0.0.1", plants.tcp_port))
        return connection.recv(64).decode()
