"""Unmounts /proc to bare what lies below; success is that it may, or that only the flags were wrong."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("umount2", plants.folder.encode(), 0, beyond=(errno.EINVAL,))
