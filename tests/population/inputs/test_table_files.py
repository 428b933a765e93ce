from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from fitness.tables import read_table, table_of
from population.errors import InputError


def csv(text, **settings):
    return read_table(text.encode(), "csv", **settings)


def parquet_of(**columns):
    out = BytesIO()
    parquet.write_table(pa.table(columns), out)
    return read_table(out.getvalue(), "parquet")


def test_every_cell_of_a_csv_is_its_text():
    found = csv('a,b c,d\n1, x ,"p, ""q""\nr"\n,NA,\n')
    assert {name: cells.tolist() for name, cells in found.columns.items()} == {
        "a": ["1", ""],
        "b c": [" x ", "NA"],
        "d": ['p, "q"\nr', ""],
    }
    assert found.num_rows == 2


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header_outside_of_quotes(sign):
    found = csv(f'"a,,;;||"{sign}c{sign}d\n1{sign}2{sign}3\n')
    assert list(found.columns) == ["a,,;;||", "c", "d"]


def test_a_byte_order_mark_and_an_empty_name_are_no_part_of_the_names():
    found = read_table("﻿,x\n1,2\n".encode(), "csv")
    assert list(found.columns) == ["unnamed 1", "x"]


def test_a_huge_cell_is_read():
    found = csv("a,b\n" + "x" * 3_000_000 + ",1\n")
    assert len(found.columns["a"][0]) == 3_000_000


BAD = {
    "empty": (b"", "the file is empty"),
    "blanks": (b" \n \n", "the file is empty"),
    "latin": ("a,b\n1,2\ncafé,3\n".encode("latin-1"), r"line 3, byte 11.*not utf-8.*data\.encoding=latin-1"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), r"its text is utf-16.*data\.encoding=utf-16"),
    "binary": (b"\x00\x01\x02,\n", "NUL character"),
    "ragged": (b"a,b\n1,2\n1,2,3\n", r"Expected 2 columns, got 3.*quote cells"),
    "twice": (b"a,b,a\n1,2,3\n", r"'a' stands at 1 and 3.*a name of its own"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_csv_is_told_with_the_place_and_the_remedy(name):
    data, says = BAD[name]
    with pytest.raises(InputError, match=says):
        read_table(data, "csv")


def test_another_encoding_is_read_where_it_is_named():
    data = "a,b\ncafé,3\n"
    assert read_table(data.encode("latin-1"), "csv", encoding="latin-1").columns["a"].tolist() == ["café"]
    assert read_table(data.encode("utf-16"), "csv", encoding="utf-16").columns["a"].tolist() == ["café"]
    with pytest.raises(InputError, match="there is no encoding 'latn'"):
        read_table(data.encode(), "csv", encoding="latn")


def test_the_types_of_parquet_become_cells():
    found = parquet_of(
        i=pa.array([1, None, 3]),
        big=pa.array([2**60, 1, None]),
        f=[0.5, None, 2.0],
        d=[Decimal("1.5"), None, Decimal(2)],
        b=[True, None, False],
        s=pa.array(["x", None, "y"]).dictionary_encode(),
        day=[date(1970, 1, 2), None, date(1970, 1, 1)],
        at=pa.array([datetime(1970, 1, 1, 12, tzinfo=UTC), None, None], pa.timestamp("ns", tz="UTC")),
        none=pa.nulls(3),
        many=[[1], None, [2]],
    )
    np.testing.assert_array_equal(found.columns["i"], [1, np.nan, 3])
    assert found.columns["big"].tolist() == [str(2**60), "1", None]
    np.testing.assert_array_equal(found.columns["d"], [1.5, np.nan, 2])
    assert found.columns["b"].tolist() == ["true", None, "false"]
    assert found.columns["s"].tolist() == ["x", None, "y"]
    assert found.columns["day"].astype("datetime64[D]").astype(float)[0] == 1
    assert np.isnat(found.columns["at"]).tolist() == [False, True, True]
    assert found.columns["none"].tolist() == [None] * 3
    assert list(found.unreadable) == ["many"]


def test_what_is_no_parquet_is_told():
    with pytest.raises(InputError, match="not readable as Parquet"):
        read_table(b"a,b\n1,2\n", "parquet")


def test_rows_of_json_may_leave_columns_out():
    rows = [{"a": 1, "b": "x"}, {"a": None}, {"b": True}]
    found = read_table(json.dumps(rows).encode(), "json")
    np.testing.assert_array_equal(found.columns["a"], [1, np.nan, np.nan])
    assert found.columns["b"].tolist() == ["x", None, "true"]
    assert read_table(b'{"a": 1, "b": "x"}', "json").num_rows == 1
    assert read_table(b'{"a": [1, 2]}', "json").num_rows == 2


@pytest.mark.parametrize("text", ["[]", "[1]", "7", "{", '{"a": [1], "b": [1, 2]}', '[{"a": [1]}]', "{}"])
def test_what_is_no_row_of_json_is_told(text):
    with pytest.raises(InputError):
        read_table(text.encode(), "json")


def test_a_data_frame_is_a_table_too():
    frame = pd.DataFrame(
        {"n": [1.5, None], "s": ["x", None], "b": [True, False], "t": pd.to_datetime(["1970-01-02", None])}
    )
    found = table_of(frame)
    np.testing.assert_array_equal(found.columns["n"], [1.5, np.nan])
    assert found.columns["s"].tolist() == ["x", None]
    assert found.columns["b"].tolist() == ["true", "false"]
    assert np.isnat(found.columns["t"]).tolist() == [False, True]
    assert table_of(pa.table({"a": [1, 2]})).columns["a"].tolist() == [1.0, 2.0]
