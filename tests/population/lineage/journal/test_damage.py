"""Flipped bits and cuts over everything a lineage keeps on disk: found by file, or harmless, never another content."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from population.clock import ManualClock
from population.errors import DamageError
from population.files.local_files import MemoryFiles
from population.lineage import Commit, LineageReader, LineageWriter
from population.lineage.journal import reader as reader_module
from population.lineage.journal.fsck import check_lineage
from population.lineage.journal.segments import journal_path, verified_bytes
from population.lineage.journal.witness import WITNESS, witness_path
from tests.population.lineage.lineage_samples import flat, sample_births, sample_commit
from tests.population.lineage.remembered import frames_are_decoded_once

HANDLE, HOME = "digits-1", Path("/home")


@dataclass(frozen=True)
class Kept:
    """What a lineage keeps on disk, and what it says."""

    files: dict[Path, bytes]
    commits: list[object]
    content: str


def _commit(step: int, births: int) -> Commit:
    """A commit whose layout changes now and then: another environment, another sandbox level."""
    commit = sample_commit(step, births=births)
    changed = [replace(batch, environment=f"cpu-{step % 3}") for batch in commit.births]
    return replace(commit, births=(*changed, sample_births(step * births + births, step % 2)))


def _kept(steps: int, seals: tuple[int, ...], births: int, torn: bytes = b"", *, is_noted: bool = True) -> Kept:
    files, commits = MemoryFiles(), [_commit(step, births) for step in range(steps)]
    for step, commit in enumerate(commits):
        with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
            writer.commit(commit)
            if step in seals:
                writer.seal()
            path = journal_path(HOME, HANDLE, sum(seal <= step for seal in seals))
        if step % 2 or step == steps - 1:  # a recovery: its incident stands in the journal
            files.append(path, torn)
    if not is_noted:
        files.remove(witness_path(HOME, HANDLE))
    folders = (HOME / "campaigns" / HANDLE, HOME / "lineage" / HANDLE)
    paths = [folder / name for folder in folders for name in files.list(folder)]
    content = {path: files.read_bytes(path) for path in paths if path.suffix not in (".lock", ".bin")}
    return Kept(content, flat(commits), LineageReader(files, HOME).content_hash(HANDLE))


@cache
def _lineages() -> tuple[Kept, ...]:
    """Small lineages of every shape: sealed often, once and never, with tears and incidents, noted and not."""
    return (
        _kept(6, (1, 3), 6),
        _kept(5, (0, 1, 2, 3), 3, b"EVLF torn"),
        _kept(8, (), 2, b"EVLF" + bytes(700)),
        _kept(4, (3,), 40),
        _kept(6, (2,), 5, is_noted=False),
    )


def _damaged(kept: Kept, path: Path, data: bytes | None) -> MemoryFiles:
    files = MemoryFiles()
    for other, content in kept.files.items():
        if other != path or data is not None:
            files.write_atomic(other, content if other != path or data is None else data, 0o644)
    return files


def _read(files: MemoryFiles, kept: Kept, path: Path) -> str:
    """Returns "found" or "harmless"; fails where a reader is shown anything but what was committed."""
    reader = LineageReader(files, HOME)
    try:
        snapshot = reader.snapshot(HANDLE)
        for segment in snapshot.manifest.segments:  # before anything is decoded: that is slow
            verified_bytes(files, HOME, HANDLE, segment)
        found = flat(reader.commits(HANDLE))
    except DamageError as error:
        return _named(path, error)
    assert found == kept.commits, path
    assert reader.content_hash(HANDLE) == kept.content
    return "harmless"


def _opened(files: MemoryFiles, kept: Kept, path: Path) -> str:
    """Returns what a writer makes of it: "found", or "opened" and then with every commit there."""
    before = {each: files.read_bytes(each) for each in kept.files if files.exists(each)}
    try:
        with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
            assert writer.next_step == len(kept.commits), path
            return "opened"
    except DamageError as error:
        found = _named(path, error)
    after = {each: files.read_bytes(each) for each in kept.files if files.exists(each)}
    assert after == before, "a damaged log was changed"
    return found


def _named(path: Path, error: DamageError) -> str:
    assert path.name in str(error), (path, error)
    return "found"


def _outcome(kept: Kept, path: Path, data: bytes | None) -> str:
    """Returns what reader and writer make of damage together; a segment's is the reader's to find."""
    files = _damaged(kept, path, data)
    read = _read(files, kept, path)
    opened = _opened(files, kept, path)
    if read == "found":
        assert opened == "found" or path.suffix == ".parquet", path
        return read
    assert opened == "opened", path
    return read


def _damage(count: int, seed: int, *, is_cut: bool) -> Counter[tuple[str, str]]:
    """Damages as many files, of every kind and at every place; returns how often each kind was found, or harmless."""
    generator = np.random.Generator(np.random.Philox(seed))
    found: Counter[tuple[str, str]] = Counter()
    with frames_are_decoded_once(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "_ATTEMPTS", 1)  # nobody seals meanwhile
        for number in range(count):
            # Without its note, after power loss, a cut between frames cannot be told from a shorter log: LINEAGE.md.
            kept = _lineages()[generator.integers(len(_lineages()) - is_cut)]
            paths = sorted(path for path in kept.files if path.name != WITNESS or number % 100 == 0)
            path = paths[generator.integers(len(paths))]
            data = bytearray(kept.files[path])
            position = int(generator.integers(len(data)))
            if is_cut:
                del data[position:]
            else:
                data[position] ^= 1 << int(generator.integers(8))
            outcome = _outcome(kept, path, bytes(data))
            found[path.name.partition("-")[0], outcome] += 1
            _check_kind(kept, path, outcome, position, is_cut=is_cut)
            if number % 97 == 0 and outcome == "found":
                files = _damaged(kept, path, bytes(data))
                assert path in {each.file for each in check_lineage(files, HOME, HANDLE).damaged}
    return found


def _check_kind(kept: Kept, path: Path, outcome: str, position: int, *, is_cut: bool) -> None:
    """Only a note that is out of date anyway, or the torn end of a journal, may be damaged without harm."""
    if path.name == WITNESS:
        assert outcome == "harmless"
    elif path.suffix == ".log" and outcome == "harmless":
        whole = _torn_from(kept, path)
        assert position >= whole, (path, position, whole)
    else:
        assert outcome == "found", (path, position, is_cut)


def _torn_from(kept: Kept, path: Path) -> int:
    files = _damaged(kept, path, kept.files[path])
    return len(kept.files[path]) - LineageReader(files, HOME).snapshot(HANDLE).torn_bytes


def _told(found: Counter[tuple[str, str]]) -> str:
    kinds = ", ".join(f"{kind} {outcome} {count}" for (kind, outcome), count in sorted(found.items()))
    return f"{sum(found.values())} cases, 0 silent ({kinds})"


def test_flipped_bits_are_found_or_harmless(scaled, told):
    told(_told(_damage(scaled(300), 7, is_cut=False)))


def test_cuts_are_found_or_harmless(scaled, told):
    told(_told(_damage(scaled(50), 8, is_cut=True)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_flipped_bits_are_found_or_harmless(scaled, told):
    told(_told(_damage(scaled(100_000), 9, is_cut=False)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_cuts_are_found_or_harmless(scaled, told):
    told(_told(_damage(scaled(10_000), 10, is_cut=True)))


def test_a_missing_file_is_found_by_name():
    for kept in _lineages():
        journals = {path for path in kept.files if path.suffix == ".log"}
        for path in kept.files:
            if path.name == WITNESS or (path in journals and not any(each.name == "MANIFEST" for each in kept.files)):
                continue
            reader = LineageReader(_damaged(kept, path, None), HOME)
            with pytest.raises(DamageError, match=path.name):
                list(reader.commits(HANDLE))
            if path.suffix != ".parquet":
                files = _damaged(kept, path, None)
                with pytest.raises(DamageError, match=path.name):
                    LineageWriter(files, HOME, HANDLE, ManualClock())
                assert all(files.exists(each) for each in kept.files if each != path)
