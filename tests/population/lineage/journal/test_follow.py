"""A follower beside a writer in another process: each commit once and in order, while journals are sealed and merged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from population.clock import ManualClock
from population.errors import LineageCorrupt
from population.files.local_files import LocalFiles
from population.lineage import LineageWriter
from population.lineage.journal.follow import Follower
from population.lineage.journal.segments import journal_path, read_manifest, segments_dir
from tests.population.lineage.lineage_samples import flat, sample_commit

HANDLE = "digits-1"
SCRIPT = Path(__file__).parents[1].joinpath("writer_process.py")


def test_a_follower_misses_nothing_while_the_writer_seals_and_merges(tmp_path: Path) -> None:
    births, steps = 4, 60
    arguments = [sys.executable, str(SCRIPT), str(tmp_path), str(steps), str(births), "12"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        quick, late = (Follower(LocalFiles(), tmp_path, HANDLE) for _ in range(2))
        seen, looks, lately = [], 0, []
        while process.poll() is None:
            found = quick.news()
            looks += bool(found)
            seen += found
            if len(seen) > steps // 2 and looks % 2:  # one that begins late, and looks now and then
                lately += late.news()
    seen += quick.news()
    lately += late.news()
    assert looks > 3
    assert flat(seen) == flat(lately) == flat(sample_commit(step, births) for step in range(steps))
    assert (quick.news(), late.news()) == ([], [])
    manifest = read_manifest(LocalFiles(), tmp_path, HANDLE)
    merged = [segment for segment in manifest.segments if segment.last - segment.first > 3]
    assert manifest.journal >= steps // 4
    assert merged


def test_a_damaged_log_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    with LineageWriter(LocalFiles(), tmp_path, HANDLE, ManualClock()) as writer:
        for step in range(3):
            writer.commit(sample_commit(step, 4))
        writer.seal()
        writer.commit(sample_commit(3, 4))
    path = journal_path(tmp_path, HANDLE, 1)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(LineageCorrupt):
        Follower(LocalFiles(), tmp_path, HANDLE).news()
    path.write_bytes(data)
    segment = next(segments_dir(tmp_path, HANDLE).glob("births-*.parquet"))
    segment.chmod(0o644)
    segment.write_bytes(b"")
    with pytest.raises(LineageCorrupt):
        Follower(LocalFiles(), tmp_path, HANDLE).news()
