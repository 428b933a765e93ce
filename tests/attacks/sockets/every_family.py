"""Tries every address family and kind of socket; success is any that opens."""

import contextlib
import socket

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    opened = []
    for family in range(47):
        for kind in (1, 2, 3, 4, 5, 6, 10):
            with contextlib.suppress(OSError), socket.socket(family, kind, 0):
                opened.append(f"{family}/{kind}")
    return " ".join(opened) or None
