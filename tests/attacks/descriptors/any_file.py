"""Looks at every descriptor up to 4,096 for a file or folder; success is one that it can read or list."""

import contextlib
import os
import stat

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    found = []
    for descriptor in range(4096):
        with contextlib.suppress(OSError):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and os.pread(descriptor, 1, 0)):
                found.append(f"{descriptor}: {mode:o}")
    return ", ".join(found) or None
