"""Checking and repairing lineages: every damage is told with its file, and a copy puts it right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from population.clock import ManualClock
from population.errors import InputError, LineageCorrupt, Locked, NotFound
from population.files.local_files import LocalFiles, MemoryFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.format.frames import COMMIT, intact_frames
from population.lineage.journal.fsck import check_lineage, lineages_of
from population.lineage.journal.repair import repair_lineage
from population.lineage.journal.segments import journal_path
from population.lineage.journal.witness import witness_path
from tests.population.lineage.lineage_samples import flat, sample_commit

HANDLE, HOME, COPY, STEPS = "digits-1", Path("/home"), Path("/copy"), 7
MANIFEST = HOME / "lineage" / HANDLE / "MANIFEST"


def _commits(steps: int = STEPS):
    return [sample_commit(step, births=3) for step in range(steps)]


def _written(home: Path, steps: int = STEPS, seals: tuple[int, ...] = (1, 3), first: int = 0, into=None) -> MemoryFiles:
    files = into or MemoryFiles()
    with LineageWriter(files, home, HANDLE, ManualClock()) as writer:
        for step in range(first, steps):
            writer.commit(sample_commit(step, births=3))
            if step in seals:
                writer.seal()
    return files


def _tree(files: MemoryFiles, home: Path) -> dict[str, bytes]:
    folders = [home / "campaigns" / HANDLE, home / "lineage" / HANDLE]
    paths = [folder / name for folder in folders for name in files.list(folder)]
    return {str(p.relative_to(home)): files.read_bytes(p) for p in paths if p.name not in ("damaged", "lineage.lock")}


def _with_copy(whole: MemoryFiles) -> MemoryFiles:
    files = MemoryFiles()
    for name, data in _tree(whole, HOME).items():
        files.append(HOME / name, data)
        files.append(COPY / name, data)
    return files


WHOLE = _written(HOME)
TREE = _tree(WHOLE, HOME)


def test_a_whole_lineage_has_no_findings_and_counts_its_commits():
    report = check_lineage(WHOLE, HOME, HANDLE)
    assert (report.commits, report.damaged, report.notes) == (STEPS, (), ())
    assert lineages_of(WHOLE, HOME) == [HANDLE]


def test_tears_and_leftovers_are_notes_that_cost_nothing():
    files = _with_copy(WHOLE)
    files.append(journal_path(HOME, HANDLE, 2), b"EVLF")
    files.append(journal_path(HOME, HANDLE, 3), b"half")
    report = check_lineage(files, HOME, HANDLE)
    assert (report.commits, report.damaged) == (STEPS, ())
    assert [note.partition(": ")[2][:8] for note in report.notes] == ["a tear o", "left by "]


def _damage(files: MemoryFiles, name: str, generator: np.random.Generator) -> str:
    """Damages one file: a flipped bit, a cut, a missing file, or another one's bytes."""
    kind = str(generator.choice(["flip", "cut", "missing", "swap"]))
    path, data = HOME / name, bytearray(TREE[name])
    if kind == "missing":
        files.remove(path)
        return kind
    if kind == "flip":
        data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
    elif kind == "cut":
        del data[int(generator.integers(len(data))) :]
    else:
        data = bytearray(next(other for each, other in sorted(TREE.items()) if other != TREE[name] and each != name))
    files.write_atomic(path, bytes(data), 0o644, replace=True)
    return kind


def _check_damages(count: int, seed: int) -> int:
    """Damages a file, or two, and a different one of the copy; each is told by file, and repaired."""
    generator = np.random.Generator(np.random.Philox(seed))
    names = sorted(name for name in TREE if not name.endswith(".synced"))
    for _ in range(count):
        files = _with_copy(WHOLE)
        chosen = list(generator.permutation(names)[: generator.integers(1, 4)])
        for name in chosen:
            _damage(files, name, generator)
        told = {str(each.file.relative_to(HOME)) for each in check_lineage(files, HOME, HANDLE).damaged}
        assert told
        assert told & set(chosen)
        if not any(name.endswith("MANIFEST") for name in chosen):
            assert told == set(chosen)
        repaired = repair_lineage(files, HOME, HANDLE, COPY)
        assert repaired.report.damaged == ()
        assert {name: data for name, data in _tree(files, HOME).items() if ".log" in name or "lineage/" in name} == {
            name: data for name, data in TREE.items() if ".log" in name or "lineage/" in name
        }
        assert flat(LineageReader(files, HOME).commits(HANDLE)) == flat(_commits())
    return count


def test_every_damage_is_told_by_file_and_repaired_from_a_copy(scaled, told):
    told(f"{_check_damages(scaled(60), 11)} damaged homes, all told by file and repaired")


@pytest.mark.slow
def test_thousands_of_damages_are_told_by_file_and_repaired_from_a_copy(scaled, told):
    told(f"{_check_damages(scaled(5000), 12)} damaged homes, all told by file and repaired")


def test_what_is_damaged_is_set_aside_not_deleted():
    files = _with_copy(WHOLE)
    path = HOME / "lineage" / HANDLE / "births-0-1.parquet"
    files.write_atomic(path, b"garbage", replace=True)
    done = repair_lineage(files, HOME, HANDLE, COPY)
    assert done.restored == (path,)
    assert [files.read_bytes(each) for each in done.set_aside] == [b"garbage"]
    assert done.set_aside[0].parent == path.parent / "damaged"


def test_a_finding_has_file_position_what_and_remedy():
    files = _with_copy(WHOLE)
    path = journal_path(HOME, HANDLE, 2)
    frames = list(intact_frames(files.read_bytes(path), ""))
    data = bytearray(files.read_bytes(path))
    data[frames[2].position + 100] ^= 4
    files.write_atomic(path, bytes(data), replace=True)
    report = check_lineage(files, HOME, HANDLE)
    [finding] = report.damaged
    assert (finding.file, finding.position) == (path, frames[2].position)
    assert "were synced" in finding.what
    assert f"evolve fsck lineage {HANDLE} --repair FROM" in finding.remedy
    assert report.commits == 5
    assert "1 whole commits follow" in report.notes[0]


def _with_damaged_frame(files: MemoryFiles, home: Path, index: int) -> None:
    path = journal_path(home, HANDLE, 0)
    data = bytearray(files.read_bytes(path))
    data[list(intact_frames(bytes(data), ""))[index].position + 90] ^= 1
    files.write_atomic(path, bytes(data), replace=True)


def test_two_damaged_copies_mend_each_other_frame_by_frame():
    files = _written(HOME, seals=())
    files.append(journal_path(COPY, HANDLE, 0), files.read_bytes(journal_path(HOME, HANDLE, 0)))
    _with_damaged_frame(files, HOME, 2)
    _with_damaged_frame(files, COPY, 5)
    assert repair_lineage(files, HOME, HANDLE, COPY).report.damaged == ()
    assert flat(LineageReader(files, HOME).commits(HANDLE)) == flat(_commits())


def test_an_older_copy_bridges_the_damage_and_what_follows_is_kept():
    files = _written(COPY, steps=3, seals=(), into=_written(HOME, seals=()))
    _with_damaged_frame(files, HOME, 2)
    assert repair_lineage(files, HOME, HANDLE, COPY).report.commits == STEPS


def test_a_copy_that_ends_before_the_damage_is_refused_and_nothing_changes():
    files = _written(COPY, steps=3, seals=(), into=_written(HOME, seals=()))
    _with_damaged_frame(files, HOME, 5)
    before = _tree(files, HOME)
    with pytest.raises(InputError, match="nothing of what is damaged"):
        repair_lineage(files, HOME, HANDLE, COPY)
    assert _tree(files, HOME) == before


def test_a_copy_that_was_sealed_elsewhere_takes_over_with_the_same_commits():
    files = _written(COPY, steps=9, seals=(5,), into=_written(HOME, seals=(1, 3)))
    files.remove(HOME / "lineage" / HANDLE / "births-2-3.parquet")
    content = LineageReader(files, COPY).content_hash(HANDLE)
    done = repair_lineage(files, HOME, HANDLE, COPY)
    assert (done.report.commits, done.report.damaged) == (9, ())
    assert LineageReader(files, HOME).content_hash(HANDLE) == content
    with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
        writer.commit(sample_commit(9, births=3))
    assert flat(LineageReader(files, HOME).commits(HANDLE)) == flat(_commits(10))


@pytest.mark.parametrize("damaged", ["births-0-1.parquet", "MANIFEST"])
def test_a_copy_with_another_history_is_refused_and_nothing_changes(damaged):
    files = _written(HOME)
    with LineageWriter(files, COPY, HANDLE, ManualClock()) as writer:
        for step in range(STEPS):
            writer.commit(sample_commit(step, births=4))
            if step in (1, 3):
                writer.seal()
    files.write_atomic(HOME / "lineage" / HANDLE / damaged, b"garbage", replace=True)
    before = _tree(files, HOME)
    with pytest.raises(InputError, match="another history of 'digits-1'"):
        repair_lineage(files, HOME, HANDLE, COPY)
    assert _tree(files, HOME) == before


def test_a_copy_with_fewer_commits_than_are_whole_here_is_refused():
    files = _written(COPY, steps=2, seals=(0,), into=_written(HOME))
    files.remove(HOME / "lineage" / HANDLE / "births-2-3.parquet")
    files.remove(COPY / "lineage" / HANDLE / "births-0-0.parquet")
    with pytest.raises(LineageCorrupt, match="it is damaged too"):
        repair_lineage(files, HOME, HANDLE, COPY)
    files = _written(COPY, steps=1, seals=(), into=_written(HOME))
    files.remove(HOME / "lineage" / HANDLE / "births-2-3.parquet")
    with pytest.raises(InputError, match="it holds 1 commits of 'digits-1', and 2 are whole here"):
        repair_lineage(files, HOME, HANDLE, COPY)


def test_a_lineage_that_is_gone_comes_back_from_the_copy():
    files = MemoryFiles()
    for name, data in TREE.items():
        files.append(COPY / name, data)
    with pytest.raises(NotFound, match="no lineage 'digits-1'"):
        check_lineage(files, HOME, HANDLE)
    assert repair_lineage(files, HOME, HANDLE, COPY).report.commits == STEPS
    assert flat(LineageReader(files, HOME).commits(HANDLE)) == flat(_commits())


def test_an_end_that_was_cut_off_comes_back_from_the_copy():
    files = _with_copy(WHOLE)
    path = journal_path(HOME, HANDLE, 2)
    ends = [frame.end for frame in intact_frames(files.read_bytes(path), "") if frame.kind == COMMIT]
    files.truncate(path, ends[0])
    [finding] = check_lineage(files, HOME, HANDLE).damaged
    assert (finding.file, finding.position) == (path, ends[0])
    assert repair_lineage(files, HOME, HANDLE, COPY).report.damaged == ()
    assert files.read_bytes(path) == TREE[f"campaigns/{HANDLE}/journal-2.log"]
    assert files.exists(witness_path(HOME, HANDLE))


def test_a_home_is_no_copy_of_itself_and_a_copy_holds_the_lineage():
    files = _with_copy(WHOLE)
    with pytest.raises(InputError, match="the home itself"):
        repair_lineage(files, HOME, HANDLE, HOME)
    with pytest.raises(NotFound, match="holds no lineage of 'digits-1'"):
        repair_lineage(files, HOME, HANDLE, Path("/nowhere"))


def test_a_repair_is_refused_while_a_writer_is_at_work_and_names_it(tmp_path):
    with LineageWriter(LocalFiles(), tmp_path / "home", HANDLE, ManualClock()) as writer:
        writer.commit(sample_commit(0))
        for name in _tree(WHOLE, HOME):
            LocalFiles().append(tmp_path / "copy" / name, TREE[name])
        with pytest.raises(Locked, match=f"process {os.getpid()};"):
            repair_lineage(LocalFiles(), tmp_path / "home", HANDLE, tmp_path / "copy")
