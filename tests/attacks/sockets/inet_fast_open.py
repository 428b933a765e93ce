"""Sends data with the first packet (MSG_FASTOPEN), past filters of connect; success is that the neighbour hears it."""

import socket
import time

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    with socket.socket() as sender:
        sender.sendto(b"a candidate was here", socket.MSG_FASTOPEN, ("127.0.0.1", plants.tcp_port))
        time.sleep(0.05)
        return "sent"
