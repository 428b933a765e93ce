"""Makes an empty file, which no limit on file sizes prevents; success is the file."""

from pathlib import Path

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    Path(plants.folder, "empty").touch()
    return "made"
