"""Connects to a neighbour's socket in a folder; success is the secret that it says."""

import socket

from tests.attacks.toolkit import Plants

PROOF = "socket"


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{plants.folder}/socket")
        return connection.recv(64).decode()
