"""A disk that is really full: the commit is refused by name, and the same commit succeeds once there is space."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from population.clock import ManualClock
from population.errors import StorageError
from population.files.local_files import LocalFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.journal.fsck import check_lineage
from population.lineage.sql.query import run_query
from tests.population.lineage.lineage_samples import flat, sample_commit

HANDLE = "digits-1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", tmp_path]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def _fill(path: Path) -> None:
    """Takes every byte that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def test_a_commit_on_a_full_disk_is_refused_and_succeeds_when_there_is_space(small_disk):
    home, ballast = small_disk / "home", small_disk / "ballast"
    commits = [sample_commit(step, births=32) for step in range(6)]
    with LineageWriter(LocalFiles(), home, HANDLE, ManualClock()) as writer:
        writer.commit(commits[0])
        for commit in commits[1:]:
            _fill(ballast)
            for _ in range(2):
                with pytest.raises(StorageError, match=r"the disk is full.*ENOSPC"):
                    writer.commit(commit)
            with pytest.raises(StorageError, match="ENOSPC"):
                writer.seal()
            assert LineageReader(LocalFiles(), home).next_step(HANDLE) == commit.step
            ballast.unlink()
            writer.commit(commit)
        writer.seal()
    assert flat(LineageReader(LocalFiles(), home).commits(HANDLE)) == flat(commits)
    report = check_lineage(LocalFiles(), home, HANDLE)
    assert (report.commits, report.damaged, report.notes) == (len(commits), (), ())


def test_a_commit_that_calls_for_a_seal_on_a_full_disk_is_acknowledged_all_the_same(small_disk):
    """Only the commit has to fit; what sealing needs is told as an incident and tried again later."""
    home, ballast = small_disk / "home", small_disk / "ballast"
    commits = [sample_commit(step, births=32) for step in range(6)]
    with LineageWriter(LocalFiles(), home, HANDLE, ManualClock(), seal_rows=64) as writer:
        writer.commit(commits[0])
        ballast.write_bytes(bytes(_free(small_disk) - 24 * 1024))
        writer.commit(commits[1])
        ballast.unlink()
        for commit in commits[2:]:
            writer.commit(commit)
        incidents = run_query(
            LineageReader(LocalFiles(), home), "SELECT kind FROM incidents WHERE is_recovery"
        ).to_pylist()
    assert incidents == [{"kind": "seal_failed"}]
    assert flat(LineageReader(LocalFiles(), home).commits(HANDLE)) == flat(commits)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
