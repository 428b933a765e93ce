"""Sets an extended attribute of a file, which Landlock does not guard; success is the attribute."""

import os

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    os.setxattr(plants.victim, "user.attack", b"a candidate was here")
    return "changed"
