"""A home that version 1 of the program wrote: a finished campaign, and one that was interrupted."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

ARCHIVE = Path(__file__).resolve().parent / "goldens" / "home-1.tar.gz"
#: Python 3.11.3 and older have no filters.
FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def unpack(folder: Path) -> Path:
    """Unpacks the home into a folder; returns its path."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, **FILTER)
    return folder / "home-1"
