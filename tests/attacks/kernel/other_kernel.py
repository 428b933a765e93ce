"""Loads another kernel, of too many parts; EINVAL shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("kexec_load", 0, 1000, None, 0x3E << 16, beyond=(errno.EINVAL,))
