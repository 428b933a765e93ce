"""Puts an export's files in their places: killed anywhere, what loads there is the old export or the new one.

A single file is replaced whole. A Python file and its weights are two, so the new weights first lie under a name that only
the new Python file knows; it takes the old one's place; then the weights take theirs.

Nouns: none beyond *export* (as in ``exporting``).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from population.errors import NotFound, StorageError
from population.files.local_files import FileSystem
from population.pytorch import mark_of


def place(files: FileSystem, folder: Path, made: Mapping[str, bytes]) -> None:
    """Writes an export's files, by name, into a folder, in the place of an earlier one.

    Raises: StorageError: what stood before still loads, or the new one does; the call may be repeated.
    """
    sources = [name for name in made if name.endswith(".py")]
    if len(made) == 1 or not sources:
        for name, content in made.items():
            files.write_atomic(folder / name, content, mode=0o644, replace=True)
        return
    (source,), (weights,) = sources, [name for name in made if name not in sources]
    aside = folder / f"{Path(weights).stem}-{mark_of(made[weights])}{Path(weights).suffix}"
    files.write_atomic(aside, made[weights], mode=0o644, replace=True)
    try:
        files.write_atomic(folder / source, made[source], mode=0o644, replace=True)
    except StorageError:
        if not _holds(files, folder / source, made[source]):  # it stands where only the sync of its folder failed
            _remove(files, aside)
        raise
    files.write_atomic(folder / weights, made[weights], mode=0o644, replace=True)
    _remove(files, aside)


def _holds(files: FileSystem, path: Path, content: bytes) -> bool:
    try:
        return files.read_bytes(path) == content
    except NotFound:
        return False
    except StorageError:
        return True  # not known: then the weights stay


def _remove(files: FileSystem, path: Path) -> None:
    with suppress(NotFound, StorageError):  # it does no harm: only the Python file that it belongs to looks for it
        files.remove(path)
