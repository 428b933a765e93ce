"""Removes a module from the kernel that is not there; ENOENT shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("delete_module", b"no_such_module", 0x800, beyond=(errno.ENOENT,))
