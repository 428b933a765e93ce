"""Sealed segments: Parquet files of whole commits under an atomic manifest, verified by BLAKE3 before they are read.

Nouns: a *segment* is one table of a range of steps; the *manifest* names a campaign's segments, the journal that follows
them and the chain value that this journal begins with. What the manifest does not name does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from population.errors import LineageCorrupt, NewerHome, NotFound
from population.files.arrow_bytes import read_parquet
from population.files.local_files import FileSystem, read_small
from population.lineage.format.commits import Chunk, chunk_schema
from population.lineage.format.frames import GENESIS
from population.lineage.format.schema import SEALED

VERSION = 1
MANIFEST = "MANIFEST"
_ROWS_PER_GROUP = 1 << 16


@dataclass(frozen=True)
class Segment:
    """One Parquet file: its table, name, first and last step, rows, size and BLAKE3."""

    table: str
    file: str
    first: int
    last: int
    rows: int
    bytes: int
    blake3: str


@dataclass(frozen=True)
class Manifest:
    """What is sealed of one campaign, and where its log goes on.

    Attributes:
        journal: number of the journal that follows. chain, sequence: what its first frame must carry.
        next_step: the first step that is not sealed. layouts: constants by layout name.
    """

    handle: str
    journal: int = 0
    chain: str = GENESIS.hex()
    sequence: int = 0
    next_step: int = 0
    segments: tuple[Segment, ...] = ()
    layouts: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Returns two lines: canonical JSON, and the BLAKE3 of the first in hex."""
        value = {"version": VERSION, **asdict(self)}
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        return text + b"\n" + blake3(text).hexdigest().encode() + b"\n"


def segments_dir(home: Path, handle: str) -> Path:
    """Returns the folder of a campaign's segments."""
    return home / "lineage" / handle


def journal_path(home: Path, handle: str, number: int) -> Path:
    """Returns the path of one journal of a campaign."""
    return home / "campaigns" / handle / f"journal-{number}.log"


def tombstone_path(home: Path, handle: str) -> Path:
    """Returns where it is said that a campaign was purged: from then on its lineage counts as absent, whatever is left."""
    return home / "tombstones" / f"{handle}.json"


#: A manifest has a few hundred bytes a segment, and a segment a table and a seal.
MAX_MANIFEST_BYTES = 1 << 26


def read_manifest(files: FileSystem, home: Path, handle: str) -> Manifest:
    """Returns the manifest, an empty one where nothing was sealed yet. Raises LineageCorrupt where it is damaged."""
    path = segments_dir(home, handle) / MANIFEST
    if not files.exists(path):
        _check_never_sealed(files, home, handle)
        return Manifest(handle)
    data = read_small(files, path, MAX_MANIFEST_BYTES, kind=LineageCorrupt)
    text, _, check = data.partition(b"\n")
    if blake3(text).hexdigest().encode() + b"\n" != check:
        raise _damaged(path, "its checksum does not match")
    value: dict[str, Any] = json.loads(text)
    if value.pop("version") > VERSION:
        raise NewerHome(f"{path}: written by a newer version of the program: upgrade the program")
    if value["handle"] != handle:
        raise _damaged(path, f"it is the manifest of {value['handle']!r}")
    value["segments"] = tuple(Segment(**entry) for entry in value["segments"])
    return Manifest(**value)


def _check_never_sealed(files: FileSystem, home: Path, handle: str) -> None:
    """Raises LineageCorrupt where something was sealed, so that a manifest must have been there."""
    first = journal_path(home, handle, 0)
    if files.exists(first):
        return
    others = [name for name in files.list(first.parent) if name.startswith("journal-") and name.endswith(".log")]
    segments = [name for name in files.list(segments_dir(home, handle)) if name.endswith(".parquet")]
    if others or segments:
        raise _damaged(segments_dir(home, handle) / MANIFEST, f"it is missing, and {(others + segments)[0]} needs it")


def write_manifest(files: FileSystem, home: Path, manifest: Manifest) -> None:
    """Replaces the manifest at once; it is durable when this returns."""
    path = segments_dir(home, manifest.handle) / MANIFEST
    files.write_atomic(path, manifest.encode(), mode=0o644, replace=True)


def write_segments(
    files: FileSystem, home: Path, handle: str, chunk: Chunk, first: int, last: int
) -> tuple[Segment, ...]:
    """Writes each table of a chunk that has rows as one file; they are durable when this returns, and not yet named."""
    folder = segments_dir(home, handle)
    files.make_dirs(folder)
    written = []
    for table in SEALED:
        rows = chunk.tables.get(table)
        if rows is None or not rows.num_rows:
            continue
        name = f"{table}-{first}-{last}.parquet"
        data = _parquet(rows)
        files.write_atomic(folder / name, data, replace=True)
        written.append(Segment(table, name, first, last, rows.num_rows, len(data), blake3(data).hexdigest()))
    return tuple(written)


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", compression_level=1, row_group_size=_ROWS_PER_GROUP)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def verified_bytes(files: FileSystem, home: Path, handle: str, segment: Segment) -> bytes:
    """Returns a segment's bytes. Raises LineageCorrupt where they are gone or not what was written."""
    path = segments_dir(home, handle) / segment.file
    try:
        data = files.read_bytes(path)
    except NotFound as error:
        raise _damaged(path, "it is missing") from error
    if len(data) != segment.bytes or blake3(data).hexdigest() != segment.blake3:
        raise _damaged(path, f"its bytes do not match its hash (steps {segment.first} to {segment.last})")
    return data


def read_table(data: bytes, table: str) -> pa.Table:
    """Returns the rows of a segment's verified bytes; columns it was written without are null."""
    found = read_parquet(data)
    schema = chunk_schema(table)
    missing = [column for column in schema if column.name not in found.schema.names]
    for column in missing:
        found = found.append_column(column, pa.nulls(found.num_rows, column.type))
    return found.select(schema.names).cast(schema)


def sealed_chunks(
    files: FileSystem,
    home: Path,
    manifest: Manifest,
    from_step: int = 0,
    tables: Sequence[str] = SEALED,
    known: Mapping[str, bytes] | None = None,
) -> Iterator[Chunk]:
    """Returns what is sealed, one chunk for each range of steps, in order, verified.

    Args:
        from_step: ranges before it are left out. tables: others are left out. known: verified bytes by file.
    """
    known = known or {}
    groups: dict[int, list[Segment]] = {}
    for segment in manifest.segments:
        if segment.last >= from_step and segment.table in tables:
            groups.setdefault(segment.first, []).append(segment)
    for first in sorted(groups):
        named = {s.table: known.get(s.file) or verified_bytes(files, home, manifest.handle, s) for s in groups[first]}
        yield Chunk({table: read_table(data, table) for table, data in named.items()}, manifest.layouts)


def _damaged(path: Path, what: str) -> LineageCorrupt:
    return LineageCorrupt(f"{path}: damaged: {what}. Restore this file from a copy; other segments are not affected")
