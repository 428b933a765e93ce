"""Reboots with a command that there is not; EINVAL shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted

MAGIC = (0xFEE1DEAD, 672274793)


def attack(plants: Plants) -> str | None:
    return admitted("reboot", *MAGIC, 0x12345, 0, beyond=(errno.EINVAL,))
