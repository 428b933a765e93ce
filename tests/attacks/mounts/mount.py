"""Mounts a file system over the folder; success is that it may."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    call("mount", b"none", plants.folder.encode(), b"tmpfs", 0, b"")
    return f"mounted, and unmounted: {call('umount2', plants.folder.encode(), 2)}"
