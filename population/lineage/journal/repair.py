"""Restores a damaged lineage from a copy: what is verified there takes the place of what is damaged here, set aside.

Nouns: the *source* is the home that holds the copy; to *set aside* is to keep a file's bytes in the folder ``damaged``
beside it. Frames are taken by their chain and segments by their hash, so a source may be damaged too, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from population.errors import InputError, LineageCorrupt, NotFound
from population.files.local_files import FileSystem
from population.lineage.format.commits import Chunk, chunk_of_frames, commits_of, encode_commit
from population.lineage.format.frames import COMMIT, intact_frames
from population.lineage.format.records import Commit
from population.lineage.journal.fsck import LogReport, check_lineage, lineages_of, prefix_of
from population.lineage.journal.reader import LineageReader
from population.lineage.journal.segments import (
    MANIFEST,
    Manifest,
    journal_path,
    read_manifest,
    read_table,
    segments_dir,
    verified_bytes,
)
from population.lineage.journal.witness import Witness, witness_path, write_witness
from population.lineage.journal.writer import leftovers_of

DAMAGED = "damaged"


@dataclass(frozen=True)
class Repair:
    """What a repair did: the report afterwards, the files it restored, where it set the damaged ones aside."""

    report: LogReport
    restored: tuple[Path, ...] = ()
    set_aside: tuple[Path, ...] = ()


def repair_lineage(files: FileSystem, home: Path, handle: str, source: Path) -> Repair:
    """Restores what is damaged or missing of one lineage from the same one in another home.

    The result is the longest history that both homes' verified pieces give. It may be repeated after any failure.

    Raises:
        InputError: the source holds another history, or less than what is whole here. NotFound: it holds none.
        LineageCorrupt: the source is damaged where it is needed. Locked: a writer is at work here, named.
    """
    if source.resolve() == home.resolve():
        raise InputError(f"--repair {source}: this is the home itself; name another home, or a copy of this one")
    if handle not in lineages_of(files, source):
        raise NotFound(f"--repair {source}: it holds no lineage of {handle!r}")
    folder = journal_path(home, handle, 0).parent
    files.make_dirs(folder)
    with files.lock(folder / "lineage.lock"):
        if handle in lineages_of(files, home) and not check_lineage(files, home, handle).damaged:
            return Repair(check_lineage(files, home, handle))
        work = _Work(files, home, handle, source)
        if not work.mend():
            work.take_over()
        if not work.restored:
            raise InputError(f"--repair {source}: it holds nothing of what is damaged here; name another copy")
        return Repair(check_lineage(files, home, handle), tuple(work.restored), tuple(work.set_aside))


class _Work:
    """One repair, under the lock of the damaged lineage."""

    def __init__(self, files: FileSystem, home: Path, handle: str, source: Path) -> None:
        self._files, self._home, self._handle, self._source = files, home, handle, source
        self.restored: list[Path] = []
        self.set_aside: list[Path] = []

    def mend(self) -> bool:
        """Restores single files and frames; returns whether that suffices. Changes nothing where it does not."""
        manifest, theirs = self._manifest(self._home), self._manifest(self._source)
        is_missing = manifest is None
        if manifest is None:
            if theirs is None or not self._follows(theirs):
                return False
            manifest = theirs
        segments = self._missing_segments(manifest)
        frames = self._frames(manifest)
        if segments is None or not frames:
            return False
        for path, data in segments.items():
            self._put(path, data)
        self._put_journal(manifest, frames)
        if is_missing:
            self._put(segments_dir(self._home, self._handle) / MANIFEST, manifest.encode())
        return True

    def take_over(self) -> None:
        """Puts the whole lineage of the source in the place of this one, where it holds all that is whole here."""
        report = check_lineage(self._files, self._source, self._handle)
        if report.damaged:
            first = report.damaged[0]
            raise LineageCorrupt(
                f"--repair {self._source}: it is damaged too, where it is needed: {first.file}: {first.what}"
            )
        snapshot = LineageReader(self._files, self._source).snapshot(self._handle)
        self._check_agreement(snapshot.next_step)
        manifest = snapshot.manifest
        for segment in manifest.segments:
            data = verified_bytes(self._files, self._source, self._handle, segment)
            self._put(segments_dir(self._home, self._handle) / segment.file, data)
        path = segments_dir(self._home, self._handle) / MANIFEST
        theirs = self._files.read_bytes(journal_path(self._source, self._handle, manifest.journal))
        self._put_journal(manifest, theirs[: prefix_of(theirs, manifest).end])
        if manifest.journal:
            self._put(path, manifest.encode())
        elif self._files.exists(path):
            self._keep(path)
            self._files.remove(path)
        for leftover in leftovers_of(self._files, self._home, manifest):
            self._keep(leftover)
            self._files.remove(leftover)

    # ---- what there is ---------------------------------------------------------------------------------------------

    def _manifest(self, home: Path) -> Manifest | None:
        try:
            return read_manifest(self._files, home, self._handle)
        except LineageCorrupt:
            return None

    def _follows(self, theirs: Manifest) -> bool:
        """Whether the journals here are the one that the source's manifest names. Raises InputError where it is another's."""
        folder = journal_path(self._home, self._handle, 0).parent
        named = journal_path(self._home, self._handle, theirs.journal)
        others = [
            n for n in self._files.list(folder) if n.startswith("journal-") and n.endswith(".log") and n != named.name
        ]
        if any(_number(name) > theirs.journal for name in others):
            return False
        first = next(intact_frames(self._read(named), str(named)), None)
        if first is not None and not first.position and first.previous.hex() != theirs.chain:
            raise self._other_history(f"{named} does not follow what its manifest names")
        return True

    def _missing_segments(self, manifest: Manifest) -> dict[Path, bytes] | None:
        """Returns the segments to be restored; None where the source has not the very same files."""
        wanted: dict[Path, bytes] = {}
        for segment in manifest.segments:
            try:
                verified_bytes(self._files, self._home, self._handle, segment)
            except LineageCorrupt:
                path = segments_dir(self._home, self._handle) / segment.file
                try:
                    wanted[path] = verified_bytes(self._files, self._source, self._handle, segment)
                except LineageCorrupt:
                    return None
        return wanted

    def _frames(self, manifest: Manifest) -> bytes:
        """Returns the longest chain of frames that follow the manifest, from the journals of both homes."""
        pool: dict[tuple[int, bytes], dict[bytes, bytes]] = {}
        for home in (self._home, self._source):
            path = journal_path(home, self._handle, manifest.journal)
            data = self._read(path)
            for frame in intact_frames(data, str(path)):
                pool.setdefault((frame.sequence, frame.previous), {})[frame.hash] = data[frame.position : frame.end]
        theirs = self._read(journal_path(self._source, self._handle, manifest.journal))
        first = next(intact_frames(theirs, "journal"), None)
        if first is not None and not first.position and first.previous.hex() != manifest.chain:
            raise self._other_history("its journal begins elsewhere")
        key, data = (manifest.sequence, bytes.fromhex(manifest.chain)), b""
        while key in pool:
            if len(pool[key]) > 1:
                raise self._other_history(f"the two differ in frame {key[0]}")
            [(digest, piece)] = pool[key].items()
            key, data = (key[0] + 1, digest), data + piece
        return data

    def _check_agreement(self, steps: int) -> None:
        """Raises InputError where a whole commit here differs from the source's, or the source has fewer of them."""
        theirs = {commit.step: commit for commit in LineageReader(self._files, self._source).commits(self._handle)}
        whole = check_lineage(self._files, self._home, self._handle).commits if self._stands() else 0
        if whole > steps:
            raise InputError(
                f"--repair {self._source}: it holds {steps} commits of {self._handle!r}, and {whole} are whole here: "
                "name a newer copy"
            )
        for commit in self._readable():
            other = theirs.get(commit.step)
            if other is not None and encode_commit(other) != encode_commit(commit):
                raise self._other_history(f"the two differ in step {commit.step}")

    def _stands(self) -> bool:
        return self._handle in lineages_of(self._files, self._home)

    def _readable(self) -> Iterator[Commit]:
        """Returns every commit here whose bytes can be verified, wherever it stands."""
        manifest = self._manifest(self._home)
        for first in sorted({segment.first for segment in manifest.segments}) if manifest else ():
            assert manifest is not None
            group = [segment for segment in manifest.segments if segment.first == first]
            try:
                data = {s.table: verified_bytes(self._files, self._home, self._handle, s) for s in group}
            except LineageCorrupt:
                continue
            yield from commits_of(Chunk({table: read_table(d, table) for table, d in data.items()}, manifest.layouts))
        folder = journal_path(self._home, self._handle, 0).parent
        for name in self._files.list(folder):
            if name.startswith("journal-") and name.endswith(".log"):
                frames = [f for f in intact_frames(self._read(folder / name), name) if f.kind == COMMIT]
                yield from commits_of(chunk_of_frames(frames, self._handle, name))

    # ---- what is done ----------------------------------------------------------------------------------------------

    def _put_journal(self, manifest: Manifest, data: bytes) -> None:
        """Writes the journal where it gains by that; what was noted of the one before it goes with it."""
        path = journal_path(self._home, self._handle, manifest.journal)
        before = self._read(path)
        if before.startswith(data):
            return
        self._put(path, data)
        witness = witness_path(self._home, self._handle)
        if self._files.exists(witness):
            self._files.remove(witness)
        last = prefix_of(data, manifest).frames[-1]
        write_witness(self._files, self._home, self._handle, Witness(manifest.journal, last.end, last.hash))

    def _put(self, path: Path, data: bytes) -> None:
        """Gives a file its restored content, after what stood there was kept."""
        if self._files.exists(path):
            if self._files.read_bytes(path) == data:
                return
            self._keep(path)
        self._files.write_atomic(path, data, mode=0o644, replace=True)
        self.restored.append(path)

    def _keep(self, path: Path) -> None:
        """Sets a file's bytes aside, once."""
        data = self._files.read_bytes(path)
        folder = path.parent / DAMAGED
        kept = [folder / name for name in self._files.list(folder) if name.rpartition(".")[0] == path.name]
        aside = next(
            (each for each in kept if self._files.read_bytes(each) == data), folder / f"{path.name}.{len(kept)}"
        )
        self._files.write_atomic(aside, data)
        self.set_aside.append(aside)

    def _read(self, path: Path) -> bytes:
        return self._files.read_bytes(path) if self._files.exists(path) else b""

    def _other_history(self, what: str) -> InputError:
        return InputError(f"--repair {self._source}: it holds another history of {self._handle!r}: {what}")


def _number(journal: str) -> int:
    digits = journal.removeprefix("journal-").removesuffix(".log")
    return int(digits) if digits.isdigit() else -1
