"""A query's own process: what it answers, what it tells when it dies, and what is believed of what it says."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

import evolve
from evolve.home import jailed_query as querying
from evolve.home.query_process import ERROR, FRAME, READY, STREAM
from population.clock import ManualClock
from population.errors import EvolveError, InputError, LineageCorrupt
from population.files.local_files import LocalFiles
from population.lineage import LineageReader, LineageWriter, QueryLimits
from population.lineage.sql.query import run_query
from tests.population.lineage.lineage_samples import sample_commit


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with LineageWriter(LocalFiles(), home, "digits-1", ManualClock()) as writer:
        for step in range(3):
            writer.commit(sample_commit(step))
            if step == 1:
                writer.seal()
    (home / "VERSION").write_text('{"version": 1}')
    return home


def test_the_process_answers_as_a_reader_does(home: Path) -> None:
    sql = "SELECT * FROM scores JOIN recipes USING (individual) ORDER BY ALL"
    assert evolve.open(home).query(sql).equals(run_query(LineageReader(LocalFiles(), home), sql))
    connection = evolve.open(home).connect()
    assert connection.sql("SELECT count(*) FROM individuals").fetchall() == [(48,)]
    connection.close()


def test_a_home_that_only_its_owner_may_enter_is_read(tmp_path: Path) -> None:
    home = tmp_path / "private"
    with LineageWriter(LocalFiles(), home, "digits-1", ManualClock()) as writer:
        writer.commit(sample_commit(0))
        writer.seal()
    home.chmod(0o700)
    assert querying.query(home, "SELECT count(*) AS n FROM individuals").to_pylist() == [{"n": 16}]


def test_damage_keeps_its_type(tmp_path: Path) -> None:
    with LineageWriter(LocalFiles(), tmp_path, "digits-1", ManualClock()) as writer:
        writer.commit(sample_commit(0))
        writer.seal()
    next((tmp_path / "lineage" / "digits-1").glob("births-*")).unlink()
    with pytest.raises(LineageCorrupt, match="it is missing"):
        querying.query(tmp_path, "SELECT 1")


def test_limits_are_told_in_words(home: Path) -> None:
    with pytest.raises(InputError, match=r"stopped after 0\.5 s"):
        querying.query(home, "SELECT count(*) FROM range(10000000) a, range(10000000) b", QueryLimits(timeout_s=0.5))
    with pytest.raises(InputError, match="needs more than 64MB of memory"):
        querying.query(home, "SELECT repeat('x', 100000000)", QueryLimits(memory="64MB"))
    with pytest.raises(InputError, match="more than 10 rows"):
        querying.query(home, "FROM range(11)", QueryLimits(rows=10))
    with pytest.raises(InputError, match="memory 'much'"):
        querying.query(home, "FROM range(11)", QueryLimits(memory="much"))


@pytest.mark.parametrize(("sql", "message"), [("SELECT \udcff", "not valid UTF-8 at character 8"), ("\0", "zero")])
def test_text_that_is_none_is_refused_before_a_process_starts(
    home: Path, sql: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "_process", None)
    with pytest.raises(InputError, match=message):
        querying.query(home, sql)


def test_every_wall_that_one_thread_can_have_stands(home: Path) -> None:
    answer = querying.ask(home, "SELECT 1", QueryLimits())
    wanted = {"environment", "limits", "no new privileges", "Landlock", "system calls"}
    assert wanted <= answer.walls["layers"].keys(), answer.walls["missing"]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (-signal.SIGKILL, "stopped after 60 s"),
        (-signal.SIGXCPU, "stopped after 60 s"),
        (signal.SIGXCPU, "stopped after 60 s"),
        (-signal.SIGABRT, "SIGABRT.*more than 1GiB of memory"),
        (-signal.SIGSEGV, "SIGSEGV"),
        (-signal.SIGSYS, "no query needs"),
    ],
)
def test_a_death_is_told_in_words(status: int, message: str) -> None:
    error = querying._cause(status, QueryLimits())
    assert isinstance(error, InputError)
    with pytest.raises(InputError, match=message):
        raise error


def test_what_a_process_says_is_not_believed() -> None:
    with pytest.raises(EvolveError, match="does not answer"):
        list(querying._frames(bytearray(FRAME.pack(STREAM, 1 << 40))))
    with pytest.raises(EvolveError, match="does not answer"):
        list(querying._frames(bytearray(FRAME.pack(READY, 1 << 20))))
    assert list(querying._frames(bytearray(FRAME.pack(ERROR, 5) + b"half"))) == []
    told = querying._told(json.dumps({"type": "SystemExit", "message": "x"}).encode())
    assert type(told) is EvolveError
    for stream in (b"", b"\0" * 64, b"\xff" * 64):
        with pytest.raises(EvolveError, match="does not answer"):
            querying._table(bytearray(stream), QueryLimits())
