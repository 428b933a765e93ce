"""Makes a network namespace; success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"unshare returned {call('unshare', 0x40000000)}"
