"""Opens a socket by the i386 table of system calls; success is the socket."""

from tests.attacks.toolkit import Plants, int80

SOCKET, AF_INET, SOCK_STREAM = 359, 2, 1


def attack(plants: Plants) -> str | None:
    descriptor = int80(SOCKET, AF_INET, SOCK_STREAM)
    if descriptor < 0:
        raise OSError(-descriptor, "int 0x80")
    return f"descriptor {descriptor}"
