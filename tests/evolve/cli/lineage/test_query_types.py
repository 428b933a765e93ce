"""Every type of DuckDB in a result: the right value in every format, or words that say which cast helps."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evolve.home.jailed_query import query
from population.errors import InputError
from tests.evolve.cli.conftest import Done, Program

#: One column each, and its value as JSON.
TYPES = {
    "170141183460469231731687303715884105::HUGEINT": "170141183460469231731687303715884105",
    "340282366920938463463374607431768211455::UHUGEINT": "340282366920938463463374607431768211455",
    "[1::UHUGEINT]": "[1]",
    "18446744073709551615::UBIGINT": 18446744073709551615,
    "1.5::DECIMAL(38,37)": "1.5" + "0" * 36,
    "123456789012345678901234567890123456789012345::BIGNUM": "123456789012345678901234567890123456789012345",
    "'10101'::BIT": "10101",
    "union_value(num := 3)::UNION(num INTEGER, s VARCHAR)": "3",
    "TIMETZ '12:34:56+02'": "12:34:56+02",
    "TIME '12:34:56.789'": "12:34:56.789000",
    "TIMESTAMP_NS '2020-01-01 00:00:00.123456789'": "2020-01-01T00:00:00.123456789",
    "TIMESTAMPTZ '2020-01-01 00:00:00+02'": "2019-12-31T22:00:00+00:00",
    "TIMESTAMP 'infinity'": "infinity",
    "DATE '-infinity'": "-infinity",
    "DATE '200000-01-02'": "200000-01-02",
    "DATE '0044-03-15 (BC)'": "-0043-03-15",
    "[DATE '200000-01-02', NULL]": ["200000-01-02", None],
    "{'a': TIMESTAMPTZ '200000-01-02 03:04:05+00'}": {"a": "200000-01-02T03:04:05.000000+00:00"},
    "MAP{DATE '200000-01-02': 1}": [["200000-01-02", 1]],
    "5::VARIANT": "5",
    "'\\xAA\\xBB'::BLOB": "aabb",
    "'x'::ENUM('x', 'y')": "x",
    "'nan'::DOUBLE": None,
    "NULL": None,
}


def test_a_value_of_every_type_is_told_as_it_is(program: Program, finished: Done) -> None:
    """A type that Arrow lacks came as -1 or as bytes, or ended with 70, as dates did beyond Python's calendar."""
    columns = ", ".join(f"{sql} AS c{place}" for place, sql in enumerate(TYPES))
    answer = program("query", f"SELECT {columns}", "--json", "--home", finished.home)
    assert answer.code == 0, answer.err
    assert dict(zip(TYPES, json.loads(answer.out)[0].values(), strict=True)) == TYPES


@pytest.mark.parametrize("form", ["table", "csv", "arrow", "parquet"])
def test_every_format_holds_them(program: Program, finished: Done, tmp_path: Path, form: str) -> None:
    columns = ", ".join(f"{sql} AS c" for sql in TYPES)
    answer = program("query", f"SELECT {columns}", "-f", form, "-o", tmp_path / f"o.{form}", "--home", finished.home)
    assert answer.code == 0, answer.err


def test_long_numbers_are_no_ids(program: Program, finished: Done) -> None:
    answer = program("query", "SELECT 340282366920938463463374607431768211455::UHUGEINT AS a", "--home", finished.home)
    assert "340282366920938463463374607431768211455" in answer.out


def test_order_and_names_stay_where_a_column_becomes_text(finished: Done) -> None:
    sql = "SELECT y AS \"a\"\"\n\", x AS a, x AS a FROM (VALUES ('1'::BIT, 3), ('0'::BIT, 2)) v(x, y) ORDER BY y"
    rows = query(finished.home, sql).to_pylist()
    assert rows == [{'a"\n': 2, "a": "0", "a_2": "0"}, {'a"\n': 3, "a": "1", "a_2": "1"}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 170141183460469231731687303715884105727::HUGEINT AS a",
        "SELECT TIME '24:00:00' AS a",
    ],
)
def test_what_a_column_cannot_hold_is_refused_with_the_cast_that_helps(finished: Done, sql: str) -> None:
    with pytest.raises(InputError, match="column::VARCHAR"):
        query(finished.home, sql)


def test_an_interval_is_no_column_of_parquet(program: Program, finished: Done, tmp_path: Path) -> None:
    asked = ("query", "SELECT INTERVAL 1 day AS a", "--output", tmp_path / "a.parquet", "--home", finished.home)
    answer = program(*asked)
    assert (answer.code, "column::VARCHAR" in answer.err) == (2, True), answer
    assert pq.read_table(_cast(program, finished, tmp_path)).to_pylist() == [{"a": "1 day"}]


def _cast(program: Program, finished: Done, folder: Path) -> Path:
    place = folder / "cast.parquet"
    program("query", "SELECT (INTERVAL 1 day)::VARCHAR AS a", "--output", place, "--home", finished.home)
    return place


@pytest.mark.parametrize("sql", ["SELECT error(repeat(chr(128512), 500000))", "SELECT repeat('9', 2000000)::INT"])
def test_an_error_of_megabytes_is_told_by_its_beginning(finished: Done, sql: str) -> None:
    """It came as one frame that was longer than frames may be: exit code 70."""
    with pytest.raises(InputError, match="more characters") as refused:
        query(finished.home, sql)
    assert len(str(refused.value)) < 3_000
