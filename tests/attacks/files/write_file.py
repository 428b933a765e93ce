"""Makes a file in a folder that anybody may write to; success is the file."""

from pathlib import Path

from tests.attacks.toolkit import Plants

WITNESS = True


def attack(plants: Plants) -> str | None:
    Path(plants.folder, "written").write_text("a candidate was here")
    return "written"
