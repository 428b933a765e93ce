"""Asks the kernel for the network's interfaces; success is the answer's size."""

import socket
import struct

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as connection:
        connection.bind((0, 0))
        connection.send(struct.pack("<IHHIIB3x", 20, 18, 0x301, 1, 0, 0))
        return f"{len(connection.recv(65536))} bytes"
