"""Makes the mildest call of the i386 table; success is any answer, since one open table opens all."""

from tests.attacks.toolkit import Plants, int80

GETPID = 20


def attack(plants: Plants) -> str | None:
    pid = int80(GETPID)
    return f"process {pid}" if pid > 0 else None
