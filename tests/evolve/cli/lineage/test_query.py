from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evolve.home.home import Home
from population.lineage.sql.query import run_query
from tests.evolve.cli.conftest import Done, Program

SQL = "SELECT individual, generation, operator, weights_digest FROM individuals ORDER BY event"


def truth(home: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = run_query(Home.open(home).lineage_reader(), SQL).to_pylist()
    return rows


def test_a_table_shows_short_ids_that_other_commands_take(program: Program, finished: Done) -> None:
    answer = program("query", SQL, "--home", finished.home)
    assert answer.code == 0
    first = answer.out.splitlines()[2].split()[0]
    assert first == str(truth(finished.home)[0]["individual"])[:12]
    assert program("lineage", first, "--recipe", "--json", "--home", finished.home).code == 0


def test_a_table_shows_at_most_100_rows_and_says_how_many_more(program: Program, finished: Done) -> None:
    answer = program("query", "SELECT range AS n FROM range(1234)", "--home", finished.home)
    assert answer.code == 0
    assert "99" in answer.out.split()
    assert "100" not in answer.out.split()
    assert "1,134 more rows" in answer.err


def test_json_is_a_list_of_row_objects_in_full(program: Program, finished: Done) -> None:
    for arguments in (["--format", "json"], ["--json"]):
        answer = program("query", SQL, *arguments, "--home", finished.home)
        assert json.loads(answer.out) == truth(finished.home)


def test_csv_has_a_header_and_every_row(program: Program, finished: Done) -> None:
    answer = program("query", SQL, "--format", "csv", "--home", finished.home)
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["individual"] for row in rows] == [row["individual"] for row in truth(finished.home)]


def test_parquet_reads_back(program: Program, finished: Done, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    answer = program("query", SQL, "--format", "parquet", "--output", path, "--home", finished.home)
    assert answer.code == 0
    assert pq.read_table(path).to_pylist() == truth(finished.home)


@pytest.mark.parametrize("name", ["rows.csv", "rows.json", "rows.parquet"])
def test_the_ending_of_the_output_chooses_the_format(
    program: Program, finished: Done, tmp_path: Path, name: str
) -> None:
    assert program("query", SQL, "--output", tmp_path / name, "--home", finished.home).code == 0
    start = {"rows.csv": b"individual,", "rows.json": b"[{", "rows.parquet": b"PAR1"}[name]
    assert (tmp_path / name).read_bytes().startswith(start)


def test_values_that_are_no_numbers_become_null(program: Program, finished: Done) -> None:
    answer = program("query", "SELECT 'nan'::DOUBLE AS a, NULL AS b", "--json", "--home", finished.home)
    assert json.loads(answer.out) == [{"a": None, "b": None}]


def test_an_output_in_no_folder_is_refused_before_anything_is_written(
    program: Program, finished: Done, tmp_path: Path
) -> None:
    answer = program("query", SQL, "--output", tmp_path / "no" / "rows.csv", "--home", finished.home)
    assert answer.code == 2
    assert "no folder" in answer.err
    assert not (tmp_path / "no").exists()


def test_describe_tells_every_column(program: Program, finished: Done) -> None:
    answer = program("query", "DESCRIBE scores", "--home", finished.home)
    assert answer.code == 0
    assert "sandbox_level" in answer.out


def test_the_best_by_operator_as_a_newcomer_is_told_to_ask_for_it(program: Program, finished: Done) -> None:
    from evolve.reports.closing_page import best_by_operator

    answer = program("query", best_by_operator("accuracy"), "--json", "--home", finished.home)
    rows = json.loads(answer.out)
    births = {entry["operator"].split("@")[0]: entry["births"] for entry in finished.summary["operators"]}
    assert {row["operator"]: row["births"] for row in rows} == births


def test_arrow_is_a_file_that_arrow_reads(program: Program, finished: Done, tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    assert program("query", SQL, "--output", path, "--home", finished.home).code == 0
    assert pa.ipc.open_file(path.read_bytes()).read_all().to_pylist() == truth(finished.home)


def test_equal_column_names_get_a_number_in_every_format(program: Program, finished: Done) -> None:
    answer = program("query", "SELECT 1 AS a, 2 AS a, 3 AS a_2", "--json", "--home", finished.home)
    assert json.loads(answer.out) == [{"a": 1, "a_3": 2, "a_2": 3}]


def test_sql_that_is_not_utf8_is_a_wrong_use(program: Program, finished: Done) -> None:
    answer = program("query", "SELECT \udcff", "--home", finished.home)
    assert answer.code == 2
    assert "not valid UTF-8" in answer.err


def test_limits_are_options(program: Program, finished: Done) -> None:
    for option, value, message in (("--rows", "2", "more than 2 rows"), ("--memory", "x", "write a size")):
        answer = program("query", "FROM range(3)", option, value, "--home", finished.home)
        assert answer.code == 2
        assert message in answer.err
