"""Makes a mount namespace; success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"unshare returned {call('unshare', 0x00020000)}"
