"""Becomes another program; success is the file that the program makes."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.execve("/bin/sh", ["sh", "-c", f"echo > {plants.folder}/by-execve"], {})
