"""Opens a TCP port for others; success is the port."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        return f"port {listener.getsockname()[1]}"
