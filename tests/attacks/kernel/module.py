"""Loads a module into the kernel that is none; ENOEXEC shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("init_module", b"none", 4, b"", beyond=(errno.ENOEXEC, errno.EFAULT, errno.EINVAL))
