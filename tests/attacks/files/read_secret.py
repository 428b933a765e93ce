"""Opens a file that anybody may read; success is the secret in it."""

from tests.attacks.toolkit import Plants

PROOF = "file"


def attack(plants: Plants) -> str | None:
    with open(plants.secret) as file:
        return file.read()
