from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from population.files.arrow_bytes import own_copy, read_parquet

PROJECT = Path(__file__).resolve().parents[3]
TABLE = pa.table({"a": [1, None, 3], "b": ["x", "y", None], "c": [[1], [], None]})

COUNT = """
import os, sys
import pyarrow as pa, pyarrow.parquet as pq
from population.files.arrow_bytes import read_parquet
sink = pa.BufferOutputStream()
pq.write_table(pa.table({str(name): list(range(10_000)) for name in range(20)}), sink, row_group_size=1000)
data = sink.getvalue().to_pybytes()
def threads():
    return set(os.listdir("/proc/self/task"))
before = threads()
rows = read_parquet(data)
print(rows.num_rows, len(threads() - before))
pq.read_table(pa.BufferReader(data))
print(len(threads() - before) > 0)
"""


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_what_was_written_is_read():
    assert read_parquet(parquet(TABLE)).equals(TABLE)
    assert read_parquet(parquet(TABLE.slice(0, 0))).equals(TABLE.slice(0, 0))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 9, b"x" * 100])
def test_what_is_no_parquet_is_refused(data):
    with pytest.raises((pa.ArrowException, OSError)):
        read_parquet(data)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux lists them")
def test_reading_parquet_starts_no_thread():
    """`evolve fsck lineage` died at its end, in 1 of 15 calls (exit code 134): a thread of Arrow's pool held the bytes of
    a segment for a moment after the read, and needed the interpreter's lock to let go of them."""
    done = subprocess.run([sys.executable, "-c", COUNT], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["10000", "0", "True"], done.stderr  # and the count does see Arrow's own reader


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", bytes(range(256)) * 1000])
def test_a_copy_holds_the_bytes_and_nothing_of_python(data):
    assert own_copy(data).read() == data
    assert len(data) == 0 or own_copy(data).read_buffer().address != pa.py_buffer(data).address


def test_no_module_reads_with_threads_that_hold_what_is_python_s():
    """Such readers: Parquet by ``read_table`` and datasets, pandas, and CSV from any source but a copy."""
    found = {}
    for package in ("population", "fitness", "evolve"):
        for path in sorted((PROJECT / package).rglob("*.py")):
            if calls := list(readers_of(ast.parse(path.read_text(encoding="utf-8")))):
                found[str(path.relative_to(PROJECT))] = calls
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "pq.read_table(x)",
        "parquet.read_table(x)",
        "csv.read_csv(x, y)",
        "csv.open_csv(x)",
        "ds.dataset(x)",
        "t.to_pandas()",
    ],
)
def test_the_check_sees_each_such_reader(source):
    assert list(readers_of(ast.parse(source)))


def readers_of(tree):
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func)
        is_csv = called in {"csv.read_csv", "csv.open_csv"}
        if is_csv and not ast.unparse(call.args[0]).startswith("own_copy("):
            yield f"line {call.lineno}: {called}"
        if called in {"pq.read_table", "parquet.read_table"} or called.endswith((".to_pandas", ".dataset")):
            yield f"line {call.lineno}: {called}"
