"""Readers beside a writer in another process, and writers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from population.clock import SystemClock
from population.errors import Locked
from population.files.local_files import LocalFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.journal.segments import read_manifest
from population.lineage.sql.query import run_query
from tests.population.lineage.lineage_samples import flat, sample_commit

HANDLE = "digits-1"
SCRIPT = Path(__file__).parents[1].joinpath("writer_process.py")


def _start(home: Path, steps: int, births: int, seal_rows: int) -> subprocess.Popen[str]:
    arguments = [str(home), str(steps), str(births), str(seal_rows)]
    return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, text=True)


def _last_step(output: str) -> int:
    """Returns the last step that a writer acknowledged, or -1."""
    steps = [int(line) for line in output.splitlines(keepends=True) if line.endswith("\n") and line[0].isdigit()]
    return steps[-1] if steps else -1


def test_a_reader_beside_a_writer_sees_whole_commits_in_ascending_number(tmp_path):
    births, steps = 8, 120
    process = _start(tmp_path, steps, births, seal_rows=80)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        reader, seen, looks = LineageReader(LocalFiles(), tmp_path), 0, 0
        sql = "SELECT (SELECT count(*) FROM individuals) AS births, (SELECT count(*) FROM generations) AS steps"
        while process.poll() is None or looks == 0:
            row = run_query(reader, sql).to_pylist()[0]
            assert row["births"] == row["steps"] * births
            assert row["steps"] >= seen
            seen, looks = row["steps"], looks + 1
            commits = list(reader.commits(HANDLE))
            assert [commit.step for commit in commits] == list(range(len(commits)))
            assert len(commits) >= seen
    finally:
        process.kill()
        process.communicate()
    assert looks > 1
    assert flat(reader.commits(HANDLE)) == flat(sample_commit(step, births) for step in range(steps))
    assert read_manifest(LocalFiles(), tmp_path, HANDLE).journal == steps // 10


def _kill_writers(tmp_path: Path, kills: int) -> None:
    births, acknowledged, standing, reader = 8, -1, 0, LineageReader(LocalFiles(), tmp_path)
    for kill in range(kills):
        process = _start(tmp_path, 1_000_000, births, seal_rows=64)
        assert process.stdout is not None
        seen = "".join(process.stdout.readline() for _ in range(kill % 9))
        time.sleep(0.0013 * (kill % 7))
        os.kill(process.pid, signal.SIGKILL)
        output = process.stdout.read()  # not communicate(): it would pass over what readline() has buffered
        process.wait()
        process.stdout.close()
        acknowledged = max(acknowledged, _last_step(seen + output))
        if acknowledged >= 0:
            assert (
                acknowledged < reader.next_step(HANDLE) <= max(acknowledged + 1, standing) + 1
            )  # one more may be unsaid
            standing = reader.next_step(HANDLE)
    assert acknowledged > kills
    found = list(reader.commits(HANDLE))
    assert flat(found) == flat(sample_commit(step, births) for step in range(len(found)))
    rows = run_query(reader, "SELECT count(*) AS all_rows, count(DISTINCT individual) AS individuals FROM individuals")
    assert rows.to_pylist() == [{"all_rows": len(found) * births, "individuals": len(found) * births}]


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path, scaled, told):
    _kill_writers(tmp_path, scaled(6))
    told(f"{scaled(6)} writers killed, 0 acknowledged commits lost")


@pytest.mark.slow
def test_a_writer_that_is_killed_a_hundred_times_loses_nothing_that_it_acknowledged(tmp_path, scaled, told):
    _kill_writers(tmp_path, scaled(100))
    told(f"{scaled(100)} writers killed, 0 acknowledged commits lost")


def test_a_writer_in_another_process_is_named_to_the_second_one(tmp_path):
    process = _start(tmp_path, 1_000_000, 1, seal_rows=10_000)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(Locked, match=str(process.pid)):
            LineageWriter(LocalFiles(), tmp_path, HANDLE, SystemClock())
    finally:
        process.kill()
        process.communicate()


def test_the_core_reads_records_without_arrow_or_duckdb():
    code = (
        "import sys\n"
        "sys.modules['pyarrow'] = sys.modules['duckdb'] = None\n"
        "from population.lineage import Births, Commit, STATUSES, VIEW_NAMES\n"
        "from population.lineage.format.records import Measure\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])


def test_writing_and_replaying_need_no_duckdb(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.modules['duckdb'] = None\n"
        "from population.clock import SystemClock\n"
        "from population.files.local_files import LocalFiles\n"
        "from population.lineage import LineageReader, LineageWriter\n"
        "from tests.population.lineage.lineage_samples import sample_commit\n"
        "home = Path(sys.argv[1])\n"
        "with LineageWriter(LocalFiles(), home, 'a', SystemClock()) as writer:\n"
        "    writer.commit(sample_commit(0))\n"
        "    writer.seal()\n"
        "assert len(list(LineageReader(LocalFiles(), home).commits('a'))) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[4])
