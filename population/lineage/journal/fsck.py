"""Checks lineages file by file: every frame and the chain of frames, the manifest, every segment, the gaps between them.

Nouns: a *finding* is one damage with its file, position and remedy; a *report* is what is whole of one lineage, its
findings, and its notes (tears and leftovers, which the next writer clears and which cost nothing).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from population.errors import InputError, LineageCorrupt, NotFound, StorageError
from population.files.local_files import FileSystem
from population.lineage.format.commits import chunk_of_frames
from population.lineage.format.frames import COMMIT, Frame, Tail, intact_frames, scan
from population.lineage.format.schema import check_handle
from population.lineage.journal.segments import (
    MANIFEST,
    Manifest,
    Segment,
    journal_path,
    read_manifest,
    read_table,
    segments_dir,
    tombstone_path,
    verified_bytes,
)
from population.lineage.journal.witness import WITNESS, check_witness, read_witness
from population.lineage.journal.writer import leftovers_of, read_tail

_ATTEMPTS = 5
_POSITION = re.compile(r"damaged(?: at byte (\d+))?: (.*)", re.DOTALL)
_REMEDIES = re.compile(r"\. (?:Nothing before|Restore this)")


@dataclass(frozen=True)
class LogDamage:
    """One damage. ``position`` is the byte it begins at, None where only the whole file can be judged."""

    file: Path
    position: int | None
    what: str
    remedy: str


@dataclass(frozen=True)
class LogReport:
    """One lineage: ``commits`` is how many are whole from the beginning, without a gap."""

    handle: str
    commits: int
    damaged: tuple[LogDamage, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Look:
    """A report in the making."""

    handle: str
    damaged: list[LogDamage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, file: Path, position: int | None, what: str) -> None:
        remedy = f"evolve fsck lineage {self.handle} --repair FROM, where FROM is another home with it, or a copy"
        self.damaged.append(LogDamage(file, position, what, remedy))

    def find_error(self, file: Path, error: LineageCorrupt) -> None:
        told = _POSITION.search(str(error))
        position, what = (told[1], told[2]) if told else (None, str(error))
        self.find(file, None if position is None else int(position), _REMEDIES.split(what)[0])


def lineages_of(files: FileSystem, home: Path) -> list[str]:
    """Returns the handles of which a home holds any piece of a lineage, sorted."""
    found = set()
    for folder, beginnings in ((home / "campaigns", ("journal-", WITNESS)), (home / "lineage", ("",))):
        for handle in files.list(folder):
            try:
                if files.exists(tombstone_path(home, handle)):
                    continue
                if any(name.startswith(beginnings) for name in files.list(folder / check_handle(handle))):
                    found.add(handle)
            except (InputError, StorageError):  # a stray file is no campaign
                continue
    return sorted(found)


def check_lineage(files: FileSystem, home: Path, handle: str) -> LogReport:
    """Checks one lineage, also while it is written, and changes nothing.

    Raises: NotFound where the home holds nothing of it; NewerHome; StorageError.
    """
    if handle not in lineages_of(files, home):
        raise NotFound(f"no lineage {handle!r} in {home}; there are: {', '.join(lineages_of(files, home)) or 'none'}")
    report = _check(files, home, handle)
    for _ in range(_ATTEMPTS):
        before, report = report, _check(files, home, handle) if report.damaged else report
        if report == before:  # a finding that does not stay was a writer at work
            break
    return report


def _check(files: FileSystem, home: Path, handle: str) -> LogReport:
    look = _Look(handle)
    try:
        manifest = read_manifest(files, home, handle)
    except LineageCorrupt as error:
        look.find_error(segments_dir(home, handle) / MANIFEST, error)
        _check_loose_journals(files, home, look)
        return LogReport(handle, 0, tuple(look.damaged), tuple(look.notes))
    sealed = _check_segments(files, home, manifest, look)
    commits = _check_journal(files, home, manifest, look)
    for path in leftovers_of(files, home, manifest):
        look.notes.append(f"{path}: left by a seal that was cut short; the next writer removes it")
    commits = sealed + commits if sealed == manifest.next_step else sealed
    return LogReport(handle, commits, tuple(look.damaged), tuple(look.notes))


def _check_segments(files: FileSystem, home: Path, manifest: Manifest, look: _Look) -> int:
    """Returns how many of the sealed commits are whole from the beginning."""
    groups: dict[int, list[Segment]] = {}
    for segment in manifest.segments:
        groups.setdefault(segment.first, []).append(segment)
    expected, whole = 0, None
    for first in sorted(groups):
        if first != expected:
            look.find(
                segments_dir(home, manifest.handle) / MANIFEST,
                0,
                f"it names no segments of step {min(first, expected)}",
            )
        found = len(look.damaged)
        _check_group(files, home, manifest, groups[first], look)
        if whole is None and len(look.damaged) > found:
            whole = first
        expected = groups[first][0].last + 1
    if expected != manifest.next_step:
        look.find(segments_dir(home, manifest.handle) / MANIFEST, 0, f"it names no segments of step {expected}")
    return manifest.next_step if whole is None else whole


def _check_group(files: FileSystem, home: Path, manifest: Manifest, group: list[Segment], look: _Look) -> None:
    """Checks the segments of one range of steps: hashes, rows as the manifest and the commits say."""
    folder = segments_dir(home, manifest.handle)
    rows: dict[str, int] = {}
    commits: pa.Table | None = None
    for segment in group:
        try:
            data = verified_bytes(files, home, manifest.handle, segment)
            count = pq.read_metadata(pa.BufferReader(data)).num_rows
            if count != segment.rows:
                look.find(folder / segment.file, None, f"it holds {count} rows, the manifest says {segment.rows}")
            rows[segment.table] = count
            commits = read_table(data, segment.table) if segment.table == "commits" else commits
        except LineageCorrupt:
            path = folder / segment.file
            size = files.size(path) if files.exists(path) else 0
            what = "it is missing" if not files.exists(path) else "its bytes do not match its hash"
            steps = f"{what} (steps {segment.first} to {segment.last})"
            look.find(path, size if size < segment.bytes else None, steps)
        except pa.ArrowException as error:
            look.find(folder / segment.file, None, f"it is no Parquet file: {error}")
    if commits is not None and len(rows) == len(group):
        _check_counts(folder / f"commits-{group[0].first}-{group[0].last}.parquet", commits, group[0], rows, look)


def _check_counts(file: Path, commits: pa.Table, segment: Segment, rows: dict[str, int], look: _Look) -> None:
    if commits["step"].to_pylist() != list(range(segment.first, segment.last + 1)):
        look.find(file, None, f"it does not hold the steps {segment.first} to {segment.last}")
    claimed: dict[str, int] = {}
    for record in commits.select(["births", "rows"]).to_pylist():
        claimed["births"] = claimed.get("births", 0) + sum(count for _, count in json.loads(record["births"]))
        for table, count in json.loads(record["rows"]).items():
            claimed[table] = claimed.get(table, 0) + count
    for table, count in claimed.items():
        if rows.get(table, 0) != count:
            look.find(file, None, f"its commits have {count} rows of {table}, and {rows.get(table, 0)} are there")


def _check_journal(files: FileSystem, home: Path, manifest: Manifest, look: _Look) -> int:
    """Returns how many whole commits the journal holds from its beginning."""
    path = journal_path(home, manifest.handle, manifest.journal)
    witness = read_witness(files, home, manifest.handle)
    data = files.read_bytes(path) if files.exists(path) else b""
    try:
        tail = read_tail(files, home, manifest) if files.exists(path) else Tail((), 0, 0)
        check_witness(witness, home, manifest, tail)
        if not tail.frames and manifest.journal:
            look.find(path, 0, "the manifest names this journal, and its first frame is missing")
        steps = _steps(tail.frames, manifest, path)
        if steps != list(range(manifest.next_step, manifest.next_step + len(steps))):
            look.find(path, None, f"its commits are not the steps from {manifest.next_step} on, without a gap")
        if tail.torn_bytes:
            look.notes.append(f"{path}: a tear of {tail.torn_bytes} bytes at byte {tail.end}; the next writer cuts it")
        return len(steps)
    except LineageCorrupt as error:
        is_manifest = str(error).startswith(str(segments_dir(home, manifest.handle) / MANIFEST))
        look.find_error(segments_dir(home, manifest.handle) / MANIFEST if is_manifest else path, error)
    prefix = prefix_of(data, manifest)
    beyond = sum(frame.position >= prefix.end and frame.kind == COMMIT for frame in intact_frames(data, str(path)))
    if beyond:
        look.notes.append(f"{path}: after the damage {beyond} whole commits follow; a copy that bridges it saves them")
    return sum(frame.kind == COMMIT for frame in prefix.frames)


def _steps(frames: Iterable[Frame], manifest: Manifest, path: Path) -> list[int]:
    chunk = chunk_of_frames(frames, manifest.handle, str(path))
    found: list[int] = chunk.tables["commits"]["step"].to_pylist() if "commits" in chunk.tables else []
    return found


def prefix_of(data: bytes, manifest: Manifest) -> Tail:
    """Returns the whole frames that a journal begins with, whatever follows them."""
    frames = []
    end, previous, sequence = 0, bytes.fromhex(manifest.chain), manifest.sequence
    for frame in intact_frames(data, "journal"):
        if (frame.position, frame.previous, frame.sequence) != (end, previous, sequence):
            break
        frames.append(frame)
        end, previous, sequence = frame.end, frame.hash, sequence + 1
    return Tail(tuple(frames), end, len(data) - end)


def _check_loose_journals(files: FileSystem, home: Path, look: _Look) -> None:
    """Checks journals without a manifest that says what they follow: each by the chain within it."""
    folder = journal_path(home, look.handle, 0).parent
    for name in files.list(folder):
        if not (name.startswith("journal-") and name.endswith(".log")):
            continue
        data = files.read_bytes(folder / name)
        first = next(intact_frames(data, name), None)
        if first is None or first.position:
            look.find(folder / name, 0, "its first frame is missing or damaged")
            continue
        try:
            tail = scan(data, str(folder / name), first.previous, first.sequence)
            commits = sum(frame.kind == COMMIT for frame in tail.frames)
            look.notes.append(f"{folder / name}: whole in itself, {commits} commits; what it follows is not known")
        except LineageCorrupt as error:
            look.find_error(folder / name, error)
