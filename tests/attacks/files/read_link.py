"""Reads a symbolic link, which Landlock does not guard; success is where it points."""

import os

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return os.readlink("/proc/self/exe")
