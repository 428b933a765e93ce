"""Reads a neighbour's memory (process_vm_readv); success is the secret."""

from tests.attacks.toolkit import Plants, read_of

PROOF = "memory"


def attack(plants: Plants) -> str | None:
    return read_of(plants.prey_pid, plants.prey_address)
