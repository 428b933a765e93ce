"""Hostile SQL, by the very path of ``evolve query``: it reads the views and nothing else, writes nothing, ends in time.

What could be read is planted: files in the home and outside, an environment variable, Python variables, and a port that
listens. Every statement of ``hostile_sql.py`` runs in the query's own process; those to be refused also inside this one,
where DuckDB's settings and the check of the statement stand alone.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from blake3 import blake3

from evolve.home.jailed_query import QueryAnswer, ask
from population.clock import ManualClock
from population.errors import InputError
from population.files.local_files import LocalFiles
from population.lineage import LineageReader, LineageWriter, QueryLimits
from population.lineage.sql.connection import open_connection
from population.lineage.sql.query import batches_of, told_in_words
from tests.evolve import hostile_sql
from tests.population.lineage.lineage_samples import sample_commit

SECRET = "hunter2"
SECRET_TABLE = pa.table({"password": [SECRET]})
TIMEOUT_S = 4.0
#: A bomb is dead this long after it was lit, and never held more than this.
DEAD_S, DEAD_BYTES = 5.0, 1_500_000_000
LIMITS = QueryLimits(timeout_s=TIMEOUT_S)
Told = Callable[[str], None]


@dataclass(frozen=True)
class Planted:
    """A home with secrets in and around it, a port that listens, and what stood there before anybody asked."""

    root: Path
    home: Path
    listener: socket.socket

    def fill(self, sql: str) -> str:
        segment = next((self.home / "lineage" / "digits-1").glob("births-*.parquet"))
        return sql.format(
            secret=self.home / "secret.txt",
            outside=self.root / "outside",
            csv=self.home / "secret.csv",
            journal=next((self.home / "campaigns" / "digits-1").glob("journal-*.log")),
            segment=segment,
            folder=self.home,
            out=self.root / "out",
            port=self.listener.getsockname()[1],
        )

    def files(self) -> dict[str, str]:
        paths = sorted(path for path in self.root.rglob("*"))
        return {str(path): blake3(path.read_bytes()).hexdigest() if path.is_file() else "" for path in paths}

    def was_called(self) -> bool:
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    root = tmp_path_factory.mktemp("planted")
    home = root / "home"
    with LineageWriter(LocalFiles(), home, "digits-1", ManualClock()) as writer:
        writer.commit(sample_commit(0))
        writer.seal()
        writer.commit(sample_commit(1))
    (home / "VERSION").write_text('{"version": 1}')
    for path in (home / "secret.txt", home / "secret.csv", root / "outside", root / "outside.csv"):
        path.write_text(f"password\n{SECRET}\n")
    (root / "out").mkdir()
    for folder in (root, *root.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)  # whoever may look could look
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    with listener, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSTILE_SECRET", SECRET)
        yield Planted(root, home, listener)


def refused(name: str) -> list[Any]:
    return [pytest.param(sql, id=f"{name}: {title}") for title, sql in hostile_sql.REFUSED[name].items()]


def everything_refused() -> list[Any]:
    return list(itertools.chain.from_iterable(map(refused, hostile_sql.REFUSED)))


def answer_of(planted: Planted, sql: str) -> QueryAnswer:
    """Asks as ``evolve query`` does, with secrets in the variables around."""
    secret_rows, secret_list, secret_columns, secret_value = SECRET_TABLE, [SECRET], {"password": [SECRET]}, SECRET
    try:
        return ask(planted.home, sql, LIMITS)
    except InputError as error:  # refused before any process was started
        return QueryAnswer(error=error)
    finally:
        del secret_rows, secret_list, secret_columns, secret_value


def check_refused(planted: Planted, sql: str) -> QueryAnswer:
    answer = answer_of(planted, planted.fill(sql))
    assert isinstance(answer.error, InputError), f"answered: {bytes(answer.stream)!r:.400}"
    assert SECRET not in str(answer.error).replace(sql, "")
    assert SECRET.encode() not in answer.stream
    assert not planted.was_called()
    return answer


def check_bomb(planted: Planted, sql: str) -> QueryAnswer:
    answer = answer_of(planted, sql.format())
    assert answer.error is None or isinstance(answer.error, InputError), answer.error
    assert answer.query_s < DEAD_S
    assert answer.peak_rss_bytes < DEAD_BYTES
    return answer


#: A share of each group for every run of the tests.
SMOKE = (
    ("reads", "a sealed file by its name"),
    ("reads", "in EXPLAIN behind a comment"),
    ("writes", "COPY over the log"),
    ("network", "read_csv of http://"),
    ("environment", "the environment as a file"),
    ("python", "a table of the caller"),
)
SMOKE_BOMBS = ("repeat twice", "list of a range", "deep subqueries")


def test_a_share_of_hostile_sql_is_refused_or_dies(planted: Planted, told: Told) -> None:
    before = planted.files()
    for group, name in SMOKE:
        check_refused(planted, hostile_sql.REFUSED[group][name])
    for name in SMOKE_BOMBS:
        check_bomb(planted, hostile_sql.BOMBS[name])
    assert planted.files() == before
    told(f"{len(SMOKE)} statements refused, {len(SMOKE_BOMBS)} bombs dead, 0 reads, 0 writes")


def test_all_hostile_sql_is_refused_by_settings_and_check_alone(planted: Planted, told: Told) -> None:
    before, count = planted.files(), 0
    connection = open_connection(LineageReader(LocalFiles(), planted.home), LIMITS)
    for parameters in everything_refused():
        (sql,) = map(planted.fill, parameters.values)
        with pytest.raises(InputError) as caught, told_in_words(LIMITS):
            list(batches_of(connection, sql, LIMITS))
        assert SECRET not in str(caught.value).replace(sql, ""), parameters.id
        count += 1
    connection.close()
    assert not planted.was_called()
    assert planted.files() == before
    told(f"{count} statements refused inside this process, 0 reads, 0 writes")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("group", hostile_sql.REFUSED)
def test_hostile_sql_reads_the_views_and_nothing_else(planted: Planted, group: str, told: Told) -> None:
    before = planted.files()
    for parameters in refused(group):
        check_refused(planted, *parameters.values)
    assert planted.files() == before
    told(f"{len(hostile_sql.REFUSED[group])} {group}: 0 reads outside the views, 0 writes")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_bombs_are_dead_in_time_and_memory(planted: Planted, told: Told) -> None:
    before = planted.files()
    answers = {name: check_bomb(planted, sql) for name, sql in hostile_sql.BOMBS.items()}
    assert planted.files() == before
    longest = max(answers, key=lambda name: answers[name].query_s)
    largest = max(answers, key=lambda name: answers[name].peak_rss_bytes)
    told(
        f"{len(answers)} bombs: {sum(answer.error is not None for answer in answers.values())} refused or stopped, the rest "
        f"answered; longest {answers[longest].query_s:.2f} s ({longest}), largest "
        f"{answers[largest].peak_rss_bytes / 1e6:.0f} MB ({largest})"
    )


def test_the_secrets_would_be_found_by_a_connection_that_is_not_hardened(planted: Planted) -> None:
    """The plants are there and readable: what the others refuse, a notebook's connection may do."""
    connection = open_connection(LineageReader(LocalFiles(), planted.home))
    try:
        found = connection.sql(planted.fill("SELECT content FROM read_text('{secret}')")).fetchall()
        assert SECRET in found[0][0]
        assert os.environ["HOSTILE_SECRET"] == SECRET
        assert connection.sql(planted.fill("SELECT count(*) FROM '{segment}'")).fetchall() == [(16,)]
    finally:
        connection.close()
