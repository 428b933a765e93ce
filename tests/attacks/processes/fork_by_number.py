"""Forks with the system call fork, which the C library no longer uses; success is the child."""

from tests.attacks.toolkit import Plants, call, in_child


def attack(plants: Plants) -> str | None:
    return in_child(lambda: call("fork"))
