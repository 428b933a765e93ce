"""Makes another folder its root (chroot); success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"chroot returned {call('chroot', plants.folder.encode())}"
