"""Exchanges the root (pivot_root) for a folder that is none; EINVAL or ENOTDIR show that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("pivot_root", plants.folder.encode(), plants.folder.encode(), beyond=(errno.EINVAL, errno.EBUSY))
