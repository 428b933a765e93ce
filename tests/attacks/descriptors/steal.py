"""Takes a descriptor out of a neighbour (pidfd_getfd); success is the secret in its file."""

import os

from tests.attacks.toolkit import Plants, call

PROOF = "descriptor"


def attack(plants: Plants) -> str | None:
    process = call("pidfd_open", plants.prey_pid, 0)
    return os.pread(call("pidfd_getfd", process, plants.prey_fd, 0), 64, 0).decode()
