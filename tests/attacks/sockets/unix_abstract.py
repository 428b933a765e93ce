"""Connects to a neighbour's abstract socket, which is no file; success is the secret that it says."""

import socket

from tests.attacks.toolkit import Plants

PROOF = "socket"


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + plants.abstract)
        return connection.recv(64).decode()
