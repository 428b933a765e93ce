"""Looks at its environment; success is the secret in it."""

import os

from tests.attacks.toolkit import Plants

PROOF = "environment"


def attack(plants: Plants) -> str | None:
    return repr(dict(os.environ))
