"""Makes a device node of the disk, as only root may; success is the node."""

import os
import stat

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.mknod(f"{plants.folder}/disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0))
    return "made"
