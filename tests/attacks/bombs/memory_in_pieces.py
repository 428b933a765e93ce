"""Fills twice the memory it may have by many small pieces; success is that it holds them."""

from tests.attacks.toolkit import Plants

DEADLINE_S = 10.0


def attack(plants: Plants) -> str | None:
    pieces = [bytearray(1 << 20) for _ in range(2 * plants.memory_bytes >> 20)]
    for piece in pieces:
        piece[::4096] = b"x" * 256
    return f"{len(pieces)} MiB held"
