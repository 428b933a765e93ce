"""The single writer of one campaign's log: a commit is durable when ``commit`` returns, and wholly there or not at all.

Nouns: *open frame*, the first frame of a journal, which says whose it is; *sealing*, moving a journal's commits into
segments. The order of every change is such that a reader, or a writer after a crash, finds one consistent state.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from population.clock import Clock
from population.errors import LineageCorrupt, NotFound, StorageError
from population.files.local_files import FileSystem
from population.lineage.format.commits import chunk_of_frames, encode_commit
from population.lineage.format.frames import COMMIT, INCIDENT, OPEN, Tail, encode_frame, scan
from population.lineage.format.rare_rows import canonical_json
from population.lineage.format.records import Commit
from population.lineage.format.schema import check_handle
from population.lineage.journal.compaction import compact
from population.lineage.journal.segments import (
    MANIFEST,
    Manifest,
    journal_path,
    read_manifest,
    segments_dir,
    write_manifest,
    write_segments,
)
from population.lineage.journal.witness import Witness, check_witness, read_witness, witness_path, write_witness

FORMAT_VERSION = 1
#: A journal is sealed when it holds this many births, or this many bytes.
SEAL_ROWS = 65_536
SEAL_BYTES = 1 << 26


class LineageWriter:
    """Appends commits to one campaign's log. One process, one thread; a second writer is refused with ``Locked``.

    After an exception from ``commit`` nothing of that commit is in the log, and it may be tried again. Use as a context
    manager, or call ``close``.
    """

    def __init__(self, files: FileSystem, home: Path, handle: str, clock: Clock, *, seal_rows: int = SEAL_ROWS) -> None:
        """Takes the lock, checks the log, cuts and tells a torn end.

        Raises:
            Locked: another process is the writer. LineageCorrupt: the log or its manifest is damaged.
        """
        self._files, self._home, self._handle, self._clock = files, home, check_handle(handle), clock
        self._seal_rows = seal_rows
        self._rows, self._seal_bytes = 0, SEAL_BYTES
        self._is_dirty, self._is_usable = False, True
        self._chain, self._sequence, self._end, self._next_step = b"", 0, 0, 0
        self._recovered: Mapping[str, Any] | None = None
        self._last_commit = b""
        self._resources = contextlib.ExitStack()
        folder = journal_path(home, handle, 0).parent
        files.make_dirs(folder)
        self._resources.enter_context(files.lock(folder / "lineage.lock"))
        with contextlib.ExitStack() as undo:
            undo.push(self._resources)
            self._manifest = read_manifest(files, home, handle)
            self._recover()
            undo.pop_all()

    @property
    def next_step(self) -> int:
        """The step that the next commit must carry."""
        return self._next_step

    @property
    def last_commit(self) -> str:
        """The hash of the frame that this writer committed last, in hex; empty before its first commit."""
        return self._last_commit.hex()

    @property
    def recovered(self) -> Mapping[str, Any] | None:
        """The incident of a torn end that opening this writer cut, or None."""
        return self._recovered

    def commit(self, commit: Commit) -> None:
        """Appends one commit; it is durable when this returns.

        Raises:
            ValueError: a step out of order, an unknown table or column, a value that does not fit.
            StorageError: the file system refused; nothing was committed.
        """
        self._check_open()
        if commit.step != self._next_step:
            raise ValueError(f"lineage of {self._handle}: expected step {self._next_step}, got {commit.step}")
        payload = encode_commit(commit)
        self._append(COMMIT, payload)
        self._last_commit = self._chain
        self._next_step += 1
        self._rows += sum(len(births.event) for births in commit.births)
        if self._rows >= self._seal_rows or self._end >= self._seal_bytes:
            self._try_to_seal()

    def seal(self) -> None:
        """Moves the journal's commits into segments; the journal that follows is empty.

        Order: segments, new journal, manifest (this is the moment), old journal and merged segments removed.
        """
        self._check_open()
        self._cut_dirty()
        tail = self._read_tail()
        first, last = self._manifest.next_step, self._next_step - 1
        if last < first:
            return
        chunk = chunk_of_frames(tail.frames, self._handle, str(self._path))
        written = write_segments(self._files, self._home, self._handle, chunk, first, last)
        layouts = {**self._manifest.layouts, **chunk.layouts}
        named = (*self._manifest.segments, *written)
        segments, replaced = compact(self._files, self._home, self._handle, named, layouts)
        old, number = self._path, self._manifest.journal + 1
        self._remove(journal_path(self._home, self._handle, number))
        manifest = replace(
            self._manifest,
            journal=number,
            chain=self._chain.hex(),
            sequence=self._sequence,
            next_step=self._next_step,
            segments=segments,
            layouts=layouts,
        )
        frame, digest = self._open_frame(manifest)
        self._files.append(journal_path(self._home, self._handle, number), frame)
        self._replace_manifest(manifest)
        self._chain, self._sequence, self._end, self._rows = digest, manifest.sequence + 1, len(frame), 0
        self._bear_witness()
        self._remove(old)
        for segment in replaced:
            self._remove(segments_dir(self._home, self._handle) / segment.file)

    def _replace_manifest(self, manifest: Manifest) -> None:
        """Writes the manifest; where that fails, the writer goes on only if the old one surely stands."""
        self._is_usable = False
        try:
            write_manifest(self._files, self._home, manifest)
        except StorageError:
            with contextlib.suppress(StorageError, NotFound, LineageCorrupt):
                self._is_usable = read_manifest(self._files, self._home, self._handle) == self._manifest
            raise
        self._manifest, self._is_usable = manifest, True

    def _try_to_seal(self) -> None:
        """Seals, or notes as an incident that it could not: the commit that called for it is durable all the same."""
        try:
            self.seal()
        except StorageError as error:
            self._rows, self._seal_bytes = 0, self._end + SEAL_BYTES
            with contextlib.suppress(StorageError):
                self._note({"kind": "seal_failed", "detail": str(error), "found": self._clock.now()})

    def _note(self, incident: Mapping[str, Any]) -> None:
        self._append(INCIDENT, canonical_json({"step": self._next_step, "incident": incident}).encode())

    def close(self) -> None:
        """Gives the lock back; closing twice changes nothing."""
        self._resources.close()
        self._is_usable = False

    def __enter__(self) -> LineageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _path(self) -> Path:
        return journal_path(self._home, self._handle, self._manifest.journal)

    def _check_open(self) -> None:
        if not self._is_usable:
            raise StorageError(
                f"lineage of {self._handle}: this writer is closed, or failed while sealing: open a new one"
            )

    def _append(self, kind: int, payload: bytes) -> None:
        """Appends one frame durably, or leaves the journal as it was."""
        self._cut_dirty()
        frame, digest = encode_frame(kind, self._sequence, self._end, self._chain, payload)
        self._is_dirty = True
        try:
            self._files.append(self._path, frame)
        except StorageError:
            with contextlib.suppress(StorageError):
                self._cut_dirty()
            raise
        self._is_dirty = False
        self._chain, self._sequence, self._end = digest, self._sequence + 1, self._end + len(frame)
        self._bear_witness()

    def _bear_witness(self) -> None:
        """Notes what is durable now. An older note is true too, so nothing hangs on it."""
        with contextlib.suppress(StorageError):
            write_witness(
                self._files, self._home, self._handle, Witness(self._manifest.journal, self._end, self._chain)
            )

    def _cut_dirty(self) -> None:
        """Cuts what a failed append may have left, durably: what is appended next must not come to lie among it."""
        if self._is_dirty:
            if self._files.exists(self._path):
                self._files.truncate(self._path, self._end)
            self._is_dirty = False

    def _open_frame(self, manifest: Manifest) -> tuple[bytes, bytes]:
        value = {
            "format": FORMAT_VERSION,
            "handle": self._handle,
            "journal": manifest.journal,
            "next_step": manifest.next_step,
            "created": self._clock.now(),
        }
        return encode_frame(OPEN, manifest.sequence, 0, bytes.fromhex(manifest.chain), canonical_json(value).encode())

    def _recover(self) -> None:
        """Brings a log that any crash may have left to a state from which it goes on; a damaged one is left as it is."""
        witness = read_witness(self._files, self._home, self._handle)
        tail = self._read_tail() if self._files.exists(self._path) else Tail((), 0, 0)
        check_witness(witness, self._home, self._manifest, tail)
        if not tail.frames and self._manifest.journal:
            raise LineageCorrupt(
                f"{self._path}: damaged: the manifest names this journal, and its first frame is missing. "
                "Restore this file from a copy (evolve fsck lineage --repair FROM); what is sealed is not affected"
            )
        self._next_step = self._manifest.next_step + sum(frame.kind == COMMIT for frame in tail.frames)
        self._rows = _count_births(tail, self._handle, str(self._path))
        self._remove_leftovers()
        if tail.torn_bytes:
            self._recovered = self._keep_torn(tail)
        if len(tail.frames) > 1 or self._manifest.journal:
            self._chain, self._sequence, self._end = tail.frames[-1].hash, tail.frames[-1].sequence + 1, tail.end
        else:
            self._begin_journal()
        # Who wrote the last frame may have died before its sync; from now on it counts as durable.
        self._files.settle(self._path, tail.frames[-1].position if tail.frames else 0)
        self._bear_witness()
        if self._recovered is not None:
            self._note(self._recovered)

    def _begin_journal(self) -> None:
        """Writes the first journal of a campaign. Later ones exist before a manifest names them.

        One that stands holds no commit; its name may not last, if who made it died, or failed, before that was synced.
        """
        self._remove(witness_path(self._home, self._handle))
        self._remove(self._path)
        frame, digest = self._open_frame(self._manifest)
        self._files.append(self._path, frame)
        self._chain, self._sequence, self._end = digest, 1, len(frame)

    def _read_tail(self) -> Tail:
        return read_tail(self._files, self._home, self._manifest)

    def _keep_torn(self, tail: Tail) -> dict[str, Any]:
        """Sets a torn end aside in a file of its own, then cuts it; returns the incident."""
        torn = self._files.read_bytes(self._path)[tail.end :]
        aside = self._path.with_name(f"{self._path.stem}-torn-at-{tail.end}-{self._free_number(tail.end)}.bin")
        self._files.append(aside, torn)
        self._files.truncate(self._path, tail.end)
        return {
            "kind": "torn_tail",
            "file": self._path.name,
            "position": tail.end,
            "bytes": len(torn),
            "kept_as": aside.name,
            "found": self._clock.now(),
        }

    def _free_number(self, position: int) -> int:
        taken = self._files.list(self._path.parent)
        return sum(name.startswith(f"{self._path.stem}-torn-at-{position}-") for name in taken)

    def _remove_leftovers(self) -> None:
        """Removes journals and segments that the manifest does not name: a seal was cut short before or after it.

        Who wrote the manifest may have died before its name was synced: it is written again before what only the one
        before it named is removed.
        """
        leftovers = leftovers_of(self._files, self._home, self._manifest)
        if leftovers and self._files.exists(segments_dir(self._home, self._handle) / MANIFEST):
            write_manifest(self._files, self._home, self._manifest)
        for path in leftovers:
            self._files.remove(path)

    def _remove(self, path: Path) -> None:
        if self._files.exists(path):
            self._files.remove(path)


def leftovers_of(files: FileSystem, home: Path, manifest: Manifest) -> list[Path]:
    """Returns the journals and segments in a lineage's folders that its manifest does not name."""
    folder, segments = journal_path(home, manifest.handle, 0).parent, segments_dir(home, manifest.handle)
    current = journal_path(home, manifest.handle, manifest.journal).name
    named = {segment.file for segment in manifest.segments}
    found = [n for n in files.list(folder) if n.startswith("journal-") and n.endswith(".log") and n != current]
    unnamed = [name for name in files.list(segments) if name.endswith(".parquet") and name not in named]
    return [*(folder / name for name in found), *(segments / name for name in unnamed)]


def read_tail(files: FileSystem, home: Path, manifest: Manifest) -> Tail:
    """Returns the frames of the journal that follows what is sealed. Raises LineageCorrupt where it is another's."""
    path = journal_path(home, manifest.handle, manifest.journal)
    tail = scan(files.read_bytes(path), str(path), bytes.fromhex(manifest.chain), manifest.sequence)
    if tail.frames:
        first = tail.frames[0]
        if first.kind != OPEN or json.loads(first.payload)["handle"] != manifest.handle:
            raise LineageCorrupt(f"{path}: this is not a journal of {manifest.handle!r}. Restore this file from a copy")
    return tail


def _count_births(tail: Tail, handle: str, where: str) -> int:
    chunk = chunk_of_frames(tail.frames, handle, where)
    return chunk.tables["births"].num_rows if "births" in chunk.tables else 0
