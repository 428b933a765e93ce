"""Has the kernel write down every process in a file that is not there; ENOENT shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("acct", f"{plants.folder}/none".encode(), beyond=(errno.ENOENT,))
