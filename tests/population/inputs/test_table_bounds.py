"""Tables larger than they look: refused by what is counted, in little memory; honest ones of millions of rows are read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from population.errors import InputError
from population.inputs import parquet as reading
from population.inputs import table_bounds as bounds
from population.inputs.parquet_pages import walk_pages
from population.inputs.table_files import read_table, table_of
from tests.population.inputs.test_archives import _in_a_child


def written(table: pa.Table, **options: object) -> bytes:
    stream = BytesIO()
    parquet.write_table(table, stream, **options)
    return stream.getvalue()


def repeated(num_rows: int) -> bytes:
    """A file of so many equal rows: run-length encoded, it is tiny."""
    stream = BytesIO()
    schema = pa.schema([("x", pa.int64())])
    piece = pa.table({"x": pa.array(np.zeros(min(num_rows, 10_000_000), np.int64))}, schema)
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        for _ in range(num_rows // len(piece)):
            writer.write_table(piece)
    return stream.getvalue()


def test_a_tiny_file_of_many_rows_is_refused_by_what_it_says_and_by_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = repeated(30_000_000)
    assert len(data) < 1 << 20

    def read() -> None:
        with pytest.raises(InputError, match="more than 20,000,000 rows: take a sample"):
            read_table(data, "parquet")

    assert 0 <= _in_a_child(read) < 100 << 20


def test_rows_that_the_footer_does_not_name_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(pa.table({"x": list(range(1000))}))

    class Fewer:
        def __init__(self, *given: object, **named: object) -> None:
            self._file = real(*given, **named)
            self.schema_arrow, self.iter_batches = self._file.schema_arrow, self._file.iter_batches

        @property
        def metadata(self) -> object:
            found = self._file.metadata
            return type("Lies", (), {"num_rows": 3, "num_row_groups": 1, "row_group": found.row_group})()

    real = parquet.ParquetFile
    monkeypatch.setattr(parquet, "ParquetFile", Fewer)
    with pytest.raises(InputError, match="it says 3 rows and holds 1,000"):
        read_table(data, "parquet")


def test_pages_that_become_large_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x" * 50_000_000
    data = written(pa.table({"a": [text], "b": [text]}), compression="zstd", write_statistics=False)
    assert len(data) < 100_000
    assert walk_pages(data, parquet.ParquetFile(BytesIO(data)).metadata).largest_bytes > 100_000_000
    monkeypatch.setattr(reading, "MAX_PAGE_BYTES", 10_000_000)

    def read() -> None:
        with pytest.raises(InputError, match="smaller row groups"):
            read_table(data, "parquet")

    assert 0 <= _in_a_child(read) < 30 << 20


def test_a_wide_table_is_read_some_columns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "a.b", *(f"c{n}" for n in range(20)), "a.b.c"]
    data = written(pa.table({name: np.random.default_rng(n).random(1000) for n, name in enumerate(names)}))
    whole = read_table(data, "parquet").columns
    assert 20_000 < walk_pages(data, parquet.ParquetFile(BytesIO(data)).metadata).below["a"] < 30_000
    monkeypatch.setattr(reading, "MAX_PAGE_BYTES", 30_000)
    found = read_table(data, "parquet").columns
    assert list(found) == names
    for name in names:
        np.testing.assert_array_equal(found[name], whole[name])


def test_a_name_of_very_many_dots_is_refused_before_pyarrow_takes_it_apart() -> None:
    """Its 60,000 beginnings have 1.8 GB."""
    data = written(pa.table({"." * 60_000: [1]}))

    def read() -> None:
        with pytest.raises(InputError, match="too many dots in their names"):
            read_table(data, "parquet")

    assert 0 <= _in_a_child(read) < 30 << 20


def test_pages_that_many_columns_share_are_not_walked_for_each_of_them() -> None:
    data = written(pa.table({"x": list(range(1000))}))
    column = parquet.ParquetFile(BytesIO(data)).metadata.row_group(0)
    lies = type("Lies", (), {"num_row_groups": 1000, "row_group": lambda self, group: column})()
    with pytest.raises(InputError, match="headers of its pages are damaged"):
        walk_pages(data, lies)


def test_a_header_that_runs_beyond_its_column_is_refused() -> None:
    data = written(pa.table({"x": list(range(1000))}))
    column = parquet.ParquetFile(BytesIO(data)).metadata.row_group(0).column(0)
    names = ("data_page_offset", "has_dictionary_page", "dictionary_page_offset", "path_in_schema")
    cut = type("Column", (), {**{name: getattr(column, name) for name in names}, "total_compressed_size": 3})()
    group = type("Group", (), {"num_columns": 1, "column": lambda self, place: cut})()
    lies = type("Lies", (), {"num_row_groups": 1, "row_group": lambda self, number: group})()
    with pytest.raises(InputError, match="headers of its pages are damaged"):
        walk_pages(data, lies)


def test_long_text_that_many_rows_share_is_kept_once() -> None:
    """As columns of Arrow's plain text these 200,000 rows are 20 GB."""
    text = pa.array(["x" * 100_000])
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), text)
    data = written(pa.table({"a": column}), compression="zstd")

    def read() -> None:
        cells = read_table(data, "parquet").columns["a"]
        assert (len(cells), len(cells[-1]), cells[0] is cells[-1]) == (200_000, 100_000, True)

    assert 0 <= _in_a_child(read) < 100 << 20


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_encoding_gives_the_same_cells(encoding: str, version: str) -> None:
    texts = [None if n % 7 == 0 else f"value {n % 50}" for n in range(5000)]
    data = written(
        pa.table({"a": texts, "n": [n if n % 3 else None for n in range(5000)]}),
        use_dictionary=False,
        column_encoding={"a": encoding, "n": "PLAIN"},
        data_page_version=version,
    )
    found = read_table(data, "parquet")
    assert found.columns["a"].tolist() == texts
    np.testing.assert_array_equal(found.columns["n"][3:5], [np.nan, 4])
    assert walk_pages(data, parquet.ParquetFile(BytesIO(data)).metadata).repeats == (encoding == "DELTA_BYTE_ARRAY")


def test_a_table_of_three_million_rows_is_read() -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "x": rng.normal(size=3_000_000),
            "n": rng.integers(0, 9, 3_000_000),
            "t": pa.array(["a", "b", "c"] * 1_000_000),
        }
    )
    found = read_table(written(table), "parquet")
    assert found.num_rows == 3_000_000
    np.testing.assert_array_equal(found.columns["x"], table["x"].to_numpy())
    assert found.columns["n"].dtype == np.float64
    assert found.columns["t"][:3].tolist() == ["a", "b", "c"]
    text = b"x,t\n" + b"1.5,a\n" * 3_000_000
    assert read_table(text, "csv").num_rows == 3_000_000


@pytest.mark.parametrize(
    ("data", "form", "words"),
    [
        (b"PAR1" + b"\0" * 40 + b"PAR1", "parquet", "not readable as Parquet"),
        (written(pa.table({"x": [1, 2]}))[:-20], "parquet", "not readable as Parquet"),
        (b"a\n" + b"1\n" * 30, "csv", "more than 20 rows"),
        (b"a\r" + b"1\r" * 30, "csv", "more than 20 rows"),
        (b",".join([b"a"] * 300) + b"\n", "csv", "more than 200 cells"),
        (b'[{"a": 1}' + b',{"a": 1}' * 30 + b"]", "json", "more than 20 lists and rows"),
        (b"[" * 10, "json", "not readable as JSON"),
        (b'[{"a": "\\ud800"}]', "json", "not readable as JSON"),
        (b'[{"a": ' + b"1" * 10_000 + b"}]", "json", "not readable as JSON"),
        (b"a,b\n1,\0\n", "csv", "NUL character"),
        ("a,b\n1,2\n".encode("utf-16"), "csv", "its text is utf-16"),
    ],
)  # fmt: skip
def test_what_is_no_table_or_too_large_is_refused_in_words(
    data: bytes, form: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_ROWS", 20)
    monkeypatch.setattr(bounds, "MAX_CELLS", 200)
    with pytest.raises(InputError, match=words):
        read_table(data, form)


def test_a_line_without_an_end_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with open(tmp_path / "line.csv", "wb") as file:
        file.write(b"a,b\n")
        file.truncate(1 << 30)

    def read() -> None:
        with pytest.raises(InputError, match="a line has no end within 16,777,216 bytes"):
            table_of(tmp_path / "line.csv")

    assert 0 <= _in_a_child(read) < 100 << 20
    (tmp_path / "other.parquet").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(InputError, match="it begins otherwise"):
        table_of(tmp_path / "other.parquet")


def test_an_encoding_that_is_none_is_refused() -> None:
    for name in ("zlib", "no such", "a\0b", "unicode_escape"):
        with pytest.raises(InputError):
            read_table(b"a\n\\ud800\n", "csv", encoding=name)
