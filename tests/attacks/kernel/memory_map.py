"""Tells the kernel where its own code and heap lie (PR_SET_MM), as only root may; EINVAL shows that it may."""

import errno

from tests.attacks.toolkit import Plants, admitted


def attack(plants: Plants) -> str | None:
    return admitted("prctl", 35, 1, 0, 0, 0, beyond=(errno.EINVAL,))
