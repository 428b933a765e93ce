"""Adds a file of swap space; ENOENT shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("swapon", f"{plants.folder}/none".encode(), 0, beyond=(errno.ENOENT,))
