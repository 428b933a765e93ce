"""Makes a set of System V semaphores, which outlives it; success is the set."""

from tests.attacks.toolkit import Plants, call, libc


def attack(plants: Plants) -> str | None:
    made = call("semget", 0, 1, 0o600)
    libc.semctl(made, 0, 0)
    return f"semaphores {made}"
