"""Maps a neighbour's POSIX shared memory; success is the secret in it."""

import mmap
import os

from tests.attacks.toolkit import Plants, text_of

PROOF = "shared"


def attack(plants: Plants) -> str | None:
    descriptor = os.open(f"/dev/shm/{plants.shm_name}", os.O_RDONLY)
    return text_of(mmap.mmap(descriptor, 4096, prot=mmap.PROT_READ)[:64])
