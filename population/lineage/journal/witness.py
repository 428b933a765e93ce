"""How much of a log was durable when it was last noted, so that a log that lost its end is told from one that has a tear.

Noun: the *witness*, a small file beside the journal that is overwritten after every commit and never synced. What it says
was true when it was written, so it is a lower bound however old it is; a damaged or missing one says nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from population.errors import LineageCorrupt, NotFound
from population.files.local_files import FileSystem, read_small
from population.lineage.format.frames import Tail
from population.lineage.journal.segments import MANIFEST, Manifest, journal_path, segments_dir

WITNESS = "lineage.synced"
_FIELDS = struct.Struct("<4sHxxQQ32s")
_MAGIC, _VERSION, _CHECK_SIZE = b"EVLS", 1, 8


@dataclass(frozen=True)
class Witness:
    """The journal with this number was durable up to ``end``, where a frame with this hash ended."""

    journal: int
    end: int
    hash: bytes


def witness_path(home: Path, handle: str) -> Path:
    """Returns where a campaign's witness lies."""
    return journal_path(home, handle, 0).with_name(WITNESS)


def write_witness(files: FileSystem, home: Path, handle: str, witness: Witness) -> None:
    """Notes what is durable. Raises StorageError, which harms nothing: an older witness is true too."""
    fields = _FIELDS.pack(_MAGIC, _VERSION, witness.journal, witness.end, witness.hash)
    files.note(witness_path(home, handle), fields + blake3(fields).digest(_CHECK_SIZE))


def read_witness(files: FileSystem, home: Path, handle: str) -> Witness | None:
    """Returns what was noted last, or None. Read it before what it speaks of, which may grow meanwhile."""
    try:
        data = read_small(files, witness_path(home, handle), 512, "remove it: it is written anew", LineageCorrupt)
    except NotFound:
        return None
    fields, check = data[: _FIELDS.size], data[_FIELDS.size :]
    if len(fields) < _FIELDS.size or blake3(fields).digest(_CHECK_SIZE) != check:
        return None
    magic, version, journal, end, digest = _FIELDS.unpack(fields)
    return Witness(journal, end, digest) if (magic, version) == (_MAGIC, _VERSION) else None


def check_witness(witness: Witness | None, home: Path, manifest: Manifest, tail: Tail) -> None:
    """Raises LineageCorrupt where the manifest or the journal is shorter than it was, or another."""
    if witness is None or witness.journal < manifest.journal:
        return
    note = witness_path(home, manifest.handle)
    if witness.journal > manifest.journal:
        raise LineageCorrupt(
            f"{segments_dir(home, manifest.handle) / MANIFEST}: damaged: it names journal {manifest.journal}, and "
            f"{note} shows that journal {witness.journal} was begun. {_remedy(note)}"
        )
    if not any(frame.end == witness.end and frame.hash == witness.hash for frame in reversed(tail.frames)):
        raise LineageCorrupt(
            f"{journal_path(home, manifest.handle, manifest.journal)}: damaged at byte {min(tail.end, witness.end)}: "
            f"{note} shows that {witness.end} bytes were synced, and they are not here. {_remedy(note)}"
        )


def _remedy(note: Path) -> str:
    return (
        "Restore this file from a copy (evolve fsck lineage --repair FROM). If this is a copy that was made while the "
        f"campaign ran, or an older one on purpose, remove {note.name}: the log then ends where it ends"
    )
