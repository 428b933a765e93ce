"""Opens the secret file with openat2, which filters that know only open and openat forget; success is the secret."""

import os

from tests.attacks.toolkit import Plants, call

PROOF = "file"
AT_FDCWD = -100


def attack(plants: Plants) -> str | None:
    how = bytes(24)
    descriptor = call("openat2", AT_FDCWD, plants.secret.encode(), how, 24)
    return os.read(descriptor, 64).decode()
