"""Opens a TCP port without naming it: listen binds by itself, past filters of bind. Success is the port."""

import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with socket.socket() as listener:
        listener.listen()
        return f"port {listener.getsockname()[1]}"
