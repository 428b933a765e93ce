"""Connects to a neighbour's TCP port by IPv6; success is the secret that it says."""

import socket

from tests.attacks.toolkit import Plants

PROOF = "socket"


def attack(plants: Plants) -> str | None:
    with socket.create_connection(("::1", plants.tcp6_port)) as connection:
        return connection.recv(64).decode()
