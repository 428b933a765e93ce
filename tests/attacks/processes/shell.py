"""Runs a line in a shell (system(3)); success is the file that it makes."""

from tests.attacks.toolkit import Plants, libc

WITNESS = True


def attack(plants: Plants) -> str | None:
    return f"status {libc.system(f'touch {plants.folder}/by-a-shell'.encode())}"
