"""Forks by the i386 table of system calls; success is the child."""

from tests.attacks.toolkit import Plants, in_child, int80

FORK = 2


def attack(plants: Plants) -> str | None:
    def start() -> int:
        pid = int80(FORK)
        if pid < 0:
            raise OSError(-pid, "int 0x80")
        return pid

    return in_child(start)
