"""Reads lineages, also while they are written: commits for a replay, rare rows, a content hash.

Noun: a *snapshot* is one consistent state of a campaign's log: what is sealed and the whole commits that follow it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from population.errors import InputError, LineageCorrupt, NotFound, StorageError
from population.files.local_files import FileSystem
from population.lineage.format.commits import Chunk, chunk_of_frames, commits_of
from population.lineage.format.content_hash import ContentHash
from population.lineage.format.frames import Tail
from population.lineage.format.records import Commit
from population.lineage.format.schema import check_handle
from population.lineage.journal.compaction import groups_of, is_small
from population.lineage.journal.segments import MANIFEST as MANIFEST_NAME
from population.lineage.journal.segments import (
    Manifest,
    Segment,
    journal_path,
    read_manifest,
    read_table,
    sealed_chunks,
    segments_dir,
    tombstone_path,
    verified_bytes,
)
from population.lineage.journal.witness import check_witness, read_witness
from population.lineage.journal.writer import read_tail

_ATTEMPTS = 5


@dataclass(frozen=True)
class Snapshot:
    """One campaign's log at one moment. ``torn_bytes``: an append that is under way, or that a crash left."""

    manifest: Manifest
    tail: Chunk
    next_step: int
    torn_bytes: int


class LineageReader:
    """Reads the lineages of one home; any number of readers, in any process, beside the writer.

    Whatever is read is a whole number of commits. Segments are checked against their hashes once per reader.
    """

    def __init__(self, files: FileSystem, home: Path) -> None:
        """Opens nothing yet; a home without lineages has no handles."""
        self._files, self._home = files, home
        self._verified: set[tuple[str, str]] = set()

    def handles(self) -> list[str]:
        """Returns the handles of all logs, sorted; ``_home`` is the one of promotions and looks."""
        found = set()
        for folder in (self._home / "campaigns", self._home / "lineage"):
            for handle in self._files.list(folder) if self._files.exists(folder) else ():
                with contextlib.suppress(InputError, StorageError):  # a stray file is no campaign
                    if self._has_lineage(handle):
                        found.add(handle)
        return sorted(found)

    def commits(self, handle: str, from_step: int = 0) -> Iterator[Commit]:
        """Returns the commits of one campaign from a step on, in order, exactly as they were committed.

        What was sealed before that step is not read, and not checked.

        Raises:
            NotFound: there is no such log. LineageCorrupt: it is damaged; commits before the damage come first.
        """
        for chunk in self._chunks(handle, from_step):
            yield from commits_of(chunk, from_step)

    def chain_at(self, handle: str, step: int) -> str | None:
        """Returns the hash of the frame that committed a step, in hex; None where there is none, or it was sealed without."""
        snapshot = self.snapshot(handle)
        sealed = sealed_chunks(self._files, self._home, snapshot.manifest, step, ("commits",))
        for chunk in (snapshot.tail,) if step >= snapshot.manifest.next_step else sealed:
            commits = chunk.tables.get("commits")
            for row in commits.select(["step", "chain"]).to_pylist() if commits is not None else ():
                if row["step"] == step:
                    return None if row["chain"] is None else str(row["chain"])
        return None

    def rare_rows(self, handle: str, table: str) -> list[dict[str, Any]]:
        """Returns all rows of one rare table ("campaigns", "promotions", ...) of a campaign, in order; no other is read."""
        for attempt in range(_ATTEMPTS):
            try:
                snapshot = self.snapshot(handle)
                chunks = (*sealed_chunks(self._files, self._home, snapshot.manifest, tables=(table,)), snapshot.tail)
                return [row for chunk in chunks if table in chunk.tables for row in chunk.tables[table].to_pylist()]
            except LineageCorrupt:
                if attempt == _ATTEMPTS - 1:  # until then: perhaps segments were merged while we read
                    raise
        raise AssertionError("unreachable")

    def next_step(self, handle: str) -> int:
        """Returns the number of commits of one campaign."""
        return self.snapshot(handle).next_step

    def content_hash(self, handle: str) -> str:
        """Returns one hash over a campaign's rows, in hex: the same before and after sealing, on any number of workers."""
        content = ContentHash()
        for chunk in self._chunks(handle):
            content.update(chunk)
        return content.hexdigest()

    def snapshot(self, handle: str) -> Snapshot:
        """Returns one consistent state of a campaign's log. Raises NotFound and LineageCorrupt."""
        if not self._has_lineage(handle):
            raise NotFound(
                f"no lineage of a campaign {handle!r} in {self._home}; there are: {', '.join(self.handles())}"
            )
        for attempt in range(_ATTEMPTS):
            try:
                return self._look(handle)
            except (LineageCorrupt, NotFound):
                if attempt == _ATTEMPTS - 1:  # until then: perhaps sealed, or cut by a recovery, while we read
                    raise
        raise AssertionError("unreachable")

    def _look(self, handle: str) -> Snapshot:
        witness = read_witness(self._files, self._home, handle)
        manifest = read_manifest(self._files, self._home, handle)
        path = journal_path(self._home, handle, manifest.journal)
        tail = read_tail(self._files, self._home, manifest) if self._files.exists(path) else Tail((), 0, 0)
        check_witness(witness, self._home, manifest, tail)
        if not tail.frames and manifest.journal:
            raise LineageCorrupt(
                f"{path}: damaged: the manifest names this journal, and it is missing or empty. "
                "Restore this file from a copy; what is sealed is not affected"
            )
        chunk = chunk_of_frames(tail.frames, handle, str(path))
        commits = chunk.tables["commits"].num_rows if "commits" in chunk.tables else 0
        return Snapshot(manifest, chunk, manifest.next_step + commits, tail.torn_bytes)

    def sealed_tables(self, snapshot: Snapshot) -> tuple[dict[str, list[Path]], dict[str, list[pa.Table]]]:
        """Returns what is sealed, checked: the files of large groups by table, and the rows of small groups, whose files
        a writer may merge and remove at any moment. Raises LineageCorrupt, also where a merge came between."""
        paths: dict[str, list[Path]] = {}
        rows: dict[str, list[pa.Table]] = {}
        for group in groups_of(snapshot.manifest.segments):
            for segment in group:
                path = segments_dir(self._home, snapshot.manifest.handle) / segment.file
                if is_small(group) or not path.is_file():  # or on a file system that is not the machine's own
                    data = verified_bytes(self._files, self._home, snapshot.manifest.handle, segment)
                    rows.setdefault(segment.table, []).append(read_table(data, segment.table))
                else:
                    self._check(path, segment, snapshot.manifest.handle)
                    paths.setdefault(segment.table, []).append(path)
        return paths, rows

    def whole(self, handle: str) -> tuple[Snapshot, dict[str, list[Path]], dict[str, list[pa.Table]]]:
        """Returns a snapshot with what is sealed of it, from one moment. Raises LineageCorrupt and NotFound."""
        while True:
            snapshot = self.snapshot(handle)
            try:
                return snapshot, *self.sealed_tables(snapshot)
            except LineageCorrupt:
                if read_manifest(self._files, self._home, handle) == snapshot.manifest:
                    raise  # else a writer merged segments while we read

    def _check(self, path: Path, segment: Segment, handle: str) -> None:
        if (str(path), segment.blake3) not in self._verified or self._files.size(path) != segment.bytes:
            verified_bytes(self._files, self._home, handle, segment)
            self._verified.add((str(path), segment.blake3))

    def _has_lineage(self, handle: str) -> bool:
        check_handle(handle)
        if self._files.exists(tombstone_path(self._home, handle)):
            return False
        folder = journal_path(self._home, handle, 0).parent
        if self._files.exists(segments_dir(self._home, handle) / MANIFEST_NAME):
            return True
        return self._files.exists(folder) and any(name.startswith("journal-") for name in self._files.list(folder))

    def _chunks(self, handle: str, from_step: int = 0) -> Iterator[Chunk]:
        while True:
            snapshot = self.snapshot(handle)
            manifest, small = snapshot.manifest, {}
            try:
                for group in filter(is_small, groups_of(manifest.segments)):
                    for segment in group:
                        small[segment.file] = verified_bytes(self._files, self._home, handle, segment)
            except LineageCorrupt:
                if read_manifest(self._files, self._home, handle) != manifest:
                    continue  # a writer merged segments while we read
            break  # what is damaged is met again in its place, after the commits before it
        yield from sealed_chunks(self._files, self._home, manifest, from_step, known=small)
        yield snapshot.tail
