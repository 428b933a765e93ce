"""Merging of small segments: fewer files, the same lineage, at whatever moment anybody reads or the disk fails."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from population.clock import ManualClock
from population.errors import LineageCorrupt, StorageError
from population.files.local_files import FileSystem, LocalFiles, MemoryFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.journal import compaction
from population.lineage.journal.compaction import FAN_IN, groups_of, is_small
from population.lineage.journal.segments import read_manifest, segments_dir
from population.lineage.sql.query import run_query
from tests.population.lineage.lineage_samples import flat, sample_births, sample_commit

HANDLE, BIRTHS = "digits-1", 16


def writer(files: FileSystem, home: Path) -> LineageWriter:
    return LineageWriter(files, home, HANDLE, ManualClock())


def many_seals(files: FileSystem, home: Path, seals: int, first: int = 0) -> None:
    """Commits and seals one step at a time, as a campaign does that is stopped and resumed."""
    for step in range(first, first + seals):
        with writer(files, home) as log:
            log.commit(sample_commit(step, BIRTHS))
            log.seal()


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, Path]:
    return (LocalFiles(), tmp_path / "home") if request.param == "disk" else (MemoryFiles(), Path("/home"))


def test_many_short_runs_leave_few_files_and_the_same_lineage(place: tuple[FileSystem, Path]) -> None:
    seals = 3 * FAN_IN
    other = (MemoryFiles(), Path("/other"))
    with writer(*other) as log:
        for step in range(seals):
            log.commit(sample_commit(step, BIRTHS))
    many_seals(*place, seals)
    segments = read_manifest(*place, HANDLE).segments
    assert len(list(groups_of(segments))) < FAN_IN
    assert sorted([*(segment.file for segment in segments), "MANIFEST"]) == place[0].list(
        segments_dir(place[1], HANDLE)
    )
    assert flat(LineageReader(*place).commits(HANDLE)) == flat(LineageReader(*other).commits(HANDLE))
    assert LineageReader(*place).content_hash(HANDLE) == LineageReader(*other).content_hash(HANDLE)
    found = run_query(LineageReader(*place), "SELECT count(*) AS n, count(DISTINCT individual) AS d FROM individuals")
    assert found.to_pylist() == [{"n": seals * BIRTHS, "d": seals * BIRTHS}]


def test_segments_that_are_not_small_are_never_replaced(
    place: tuple[FileSystem, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_BYTES", 50_000)
    with writer(*place) as log:
        for step, births in enumerate([2048, *[2] * FAN_IN, 2048, *[2] * FAN_IN]):
            log.commit(replace(sample_commit(step, 0), births=(sample_births(step * 2048, births),)))
            log.seal()
            if step == 0:
                large = set(read_manifest(*place, HANDLE).segments)
    groups = list(groups_of(read_manifest(*place, HANDLE).segments))
    assert large <= {segment for group in groups for segment in group}
    assert [(group[0].first, group[0].last) for group in groups] == [(0, 0), (1, 8), (9, 9), (10, 17)]
    assert [is_small(group) for group in groups] == [False, True, False, True]


class _MergedMeanwhile:
    """A file system on which a writer merges segments right before the first segment is read."""

    def __init__(self, files: FileSystem, home: Path, step: int) -> None:
        self._files, self._home, self._step = files, home, step
        self.is_merged = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def read_bytes(self, path: Path) -> bytes:
        if path.suffix == ".parquet" and not self.is_merged:
            self.is_merged = True
            many_seals(self._files, self._home, 1, self._step)
        return self._files.read_bytes(path)


@pytest.mark.parametrize("ask", ["commits", "content_hash", "query"])
def test_a_reader_that_held_the_old_manifest_reads_the_new_one(place: tuple[FileSystem, Path], ask: str) -> None:
    many_seals(*place, FAN_IN - 1)
    files = _MergedMeanwhile(*place, FAN_IN - 1)
    reader = LineageReader(files, place[1])
    if ask == "commits":
        assert flat(reader.commits(HANDLE)) == flat(sample_commit(step, BIRTHS) for step in range(FAN_IN))
    elif ask == "content_hash":
        found = reader.content_hash(HANDLE)
        assert found == LineageReader(*place).content_hash(HANDLE)
    else:
        found = run_query(reader, "SELECT count(*) AS n FROM individuals").to_pylist()
        assert found == [{"n": FAN_IN * BIRTHS}]
    assert files.is_merged


def test_a_damaged_small_segment_is_told_after_the_commits_before_it(place: tuple[FileSystem, Path]) -> None:
    many_seals(*place, 3)
    files, home = place
    files.remove(segments_dir(home, HANDLE) / "births-1-1.parquet")
    commits = LineageReader(files, home).commits(HANDLE)
    assert flat([next(commits)]) == flat([sample_commit(0, BIRTHS)])
    with pytest.raises(LineageCorrupt, match=r"births-1-1\.parquet"):
        next(commits)
    with pytest.raises(LineageCorrupt, match=r"births-1-1\.parquet"):
        run_query(LineageReader(files, home), "SELECT 1")


class _Failing:
    """A file system whose ``fail_at``-th change fails, before or after it was done."""

    def __init__(self, files: FileSystem, fail_at: int, *, is_done: bool) -> None:
        self._files, self._left, self._is_done = files, fail_at, is_done

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)
        if name not in ("append", "write_atomic", "remove", "truncate"):
            return call

        def counted(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._is_done:
                raise StorageError("planted")
            answer = call(*arguments, **named)
            if self._left == 0:
                raise StorageError("planted")
            return answer

        return counted


@pytest.mark.parametrize("is_done", [False, True])
def test_whatever_change_of_a_merging_seal_fails_nothing_is_lost(is_done: bool) -> None:
    failed, begun, home = 0, MemoryFiles(), Path("/home")
    many_seals(begun, home, FAN_IN - 1)
    with writer(begun, home) as log:
        log.commit(sample_commit(FAN_IN - 1, BIRTHS))
    for fail_at in range(1, 200):
        files = copy.deepcopy(begun)
        broken = _Failing(files, fail_at, is_done=is_done)
        try:
            with writer(broken, home) as log:
                log.seal()
        except StorageError:
            failed += 1
            assert flat(LineageReader(files, home).commits(HANDLE)) == flat(
                sample_commit(step, BIRTHS) for step in range(FAN_IN)
            )
        else:
            break
        many_seals(files, home, 1, FAN_IN)
        assert [commit.step for commit in LineageReader(files, home).commits(HANDLE)] == list(range(FAN_IN + 1))
        named = [segment.file for segment in read_manifest(files, home, HANDLE).segments]
        assert sorted([*named, "MANIFEST"]) == files.list(segments_dir(home, HANDLE))
    assert failed > FAN_IN * 4  # every written and every removed file was among them
