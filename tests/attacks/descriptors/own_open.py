"""Names a neighbour the owner of what is open already, to whom the kernel sends signals about it; success is that it may."""

import fcntl

from tests.attacks.toolkit import Plants, any_of


def attack(plants: Plants) -> str | None:
    def owned(descriptor: int) -> str:
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, plants.prey_pid)
        return f"{descriptor} belongs to {fcntl.fcntl(descriptor, fcntl.F_GETOWN)}"

    return any_of(*(lambda descriptor=descriptor: owned(descriptor) for descriptor in range(64)))
