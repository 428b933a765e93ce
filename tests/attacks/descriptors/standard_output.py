"""Writes to the standard streams; success is a stream that takes it and is not the null device."""

import contextlib
import os
import stat

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            mode = os.fstat(descriptor)
            if os.write(descriptor, b"a candidate was here\n") and not stat.S_ISCHR(mode.st_mode):
                return f"descriptor {descriptor} took it"
    return None
