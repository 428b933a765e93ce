"""Watches a folder for what others do in it; Landlock does not guard it. Success is a watch."""

import ctypes

from tests.attacks.toolkit import Plants, call, libc


def attack(plants: Plants) -> str | None:
    descriptor = libc.inotify_init1(0)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    return f"watch {call('inotify_add_watch', descriptor, plants.folder.encode(), 0xFFF)}"
