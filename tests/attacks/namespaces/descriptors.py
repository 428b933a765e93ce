"""Takes its table of descriptors apart from others' (unshare, CLONE_FILES); success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"unshare returned {call('unshare', 0x400)}"
