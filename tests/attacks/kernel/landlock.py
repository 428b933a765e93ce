"""Makes a set of rules for files; success is the descriptor: a hostile one costs kernel memory."""

from tests.attacks.toolkit import Plants, call


def attack(plants: Plants) -> str | None:
    return f"descriptor {call('landlock_create_ruleset', (1).to_bytes(8, 'little'), 8, 0)}"
