"""Sends a datagram, which needs no connection; success is the neighbour that hears it."""

import socket
import time

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"a candidate was here", ("127.0.0.1", plants.udp_port))
    time.sleep(0.05)
    return "sent"
