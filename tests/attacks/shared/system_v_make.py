"""Makes System V shared memory, which outlives it and all limits on its memory; success is the memory."""

from tests.attacks.toolkit import Plants, call, libc


def attack(plants: Plants) -> str | None:
    made = call("shmget", 0, 1 << 20, 0o600)
    libc.shmctl(made, 0, None)
    return f"shared memory {made}"
