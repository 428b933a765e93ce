"""Makes a pair of sockets, through which datagrams can be sent to anybody's address; success is a datagram that arrives."""

import socket
import time

from tests.attacks.toolkit import Plants

PROOF = "socket"


def attack(plants: Plants) -> str | None:
    first, _second = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    first.connect("")  # dissolves the pair
    first.close()
    third = socket.socket(socket.AF_UNIX)
    third.connect("\0" + plants.abstract)
    time.sleep(0.02)
    return third.recv(64).decode()
