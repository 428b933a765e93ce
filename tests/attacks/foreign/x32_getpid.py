"""Makes the mildest call of the x32 table; success is any answer."""

from tests.attacks.toolkit import Plants, call

X32, GETPID = 0x40000000, 39


def attack(plants: Plants) -> str | None:
    return f"process {call(X32 | GETPID)}"
