"""Starts a program as Python does; success is what it says."""

import subprocess

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    return subprocess.run(["/bin/sh", "-c", "echo it ran"], capture_output=True, text=True, check=True).stdout.strip()
