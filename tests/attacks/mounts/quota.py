"""Changes the quota of a file system; success is that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted

Q_SYNC_ALL = 0x800001 << 8


def attack(plants: Plants) -> str | None:
    return admitted("quotactl", Q_SYNC_ALL, None, 0, None, beyond=(errno.EINVAL, errno.ENODEV, errno.ESRCH))
