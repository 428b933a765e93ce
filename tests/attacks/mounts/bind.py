"""Lays one folder over another (a bind mount); success is that it may."""

from tests.attacks.toolkit import Plants, call

MS_BIND = 0x1000


def attack(plants: Plants) -> str | None:
    call("mount", b"/etc", plants.folder.encode(), None, MS_BIND, None)
    return f"mounted, and unmounted: {call('umount2', plants.folder.encode(), 2)}"
