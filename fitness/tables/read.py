"""The bytes of a table's file as columns of cells: CSV and Parquet by pyarrow, and rows of JSON.

Every cell of a CSV is text until it is known what its column holds: what a column is follows from all of its cells.

Nouns: *raw table* (names and cells, nothing decided yet).
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from population.cells import MAX_WHOLE, Cells, cells_of
from population.errors import InputError

FORMATS = ("csv", "parquet", "json")
SUFFIXES: Mapping[str, str] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".json": "json",
}  # fmt: skip
DELIMITERS = (",", ";", "\t", "|")
MAX_COLUMNS = 65_536


@dataclass(frozen=True)
class RawTable:
    """Names and cells of a file's columns, in its order. unreadable: columns of a type that is none of ours, by name."""

    columns: Mapping[str, Cells]
    num_rows: int
    unreadable: Mapping[str, str] = field(default_factory=dict)


def read_table(data: bytes, form: str, *, delimiter: str | None = None, encoding: str = "utf-8") -> RawTable:
    """Returns the raw table of a file's bytes.

    Args:
        form: one of FORMATS. delimiter: of a CSV; found in its header where None. encoding: of a CSV.

    Raises:
        InputError: the bytes are not in this format; the message says where and what to do.
    """
    if not data.strip():
        raise InputError("the file is empty")
    if form == "parquet":
        return _read_parquet(data)
    return _read_json(data) if form == "json" else _read_csv(data, delimiter, encoding)


def _read_csv(data: bytes, delimiter: str | None, encoding: str) -> RawTable:
    import pyarrow as pa
    from pyarrow import csv

    from population.arrow_bytes import own_copy

    text = _decoded(data, encoding)
    sign = delimiter or _delimiter_of(text)
    plain = text.encode()
    convert = csv.ConvertOptions(strings_can_be_null=False, default_column_type=pa.string())
    parse = csv.ParseOptions(delimiter=sign, newlines_in_values=True)
    size = min(2**31 - 2, max(1 << 20, len(plain) + 1))  # one block: a cell may be as large as the file
    try:
        read = csv.ReadOptions(block_size=size, use_threads=False)
        found = csv.read_csv(own_copy(plain), read, parse, convert)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"not readable as CSV with {sign!r} between cells: {str(error)[:200]}; quote cells that hold {sign!r}, or name "
            "another delimiter"
        ) from error
    names = [name.strip() or f"unnamed {place}" for place, name in enumerate(found.schema.names, 1)]
    _check_names(names)
    columns = [column.combine_chunks().to_numpy(zero_copy_only=False) for column in found.columns]
    return RawTable(dict(zip(names, columns, strict=True)), found.num_rows)


def _decoded(data: bytes, encoding: str) -> str:
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark) and encoding == "utf-8":
            raise InputError(f"its text is {name}, not utf-8: name the encoding, e.g. data.encoding={name}")
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError:
        raise InputError(f"there is no encoding {encoding!r}; usual ones are utf-8, latin-1, cp1252, utf-16") from None
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = data[:start].count(b"\n") + 1
        raise InputError(
            f"line {line}, byte {start}: its text is not {encoding}: save it as utf-8, or name the encoding, e.g. "
            "data.encoding=latin-1"
        ) from None
    if "\0" in text:
        raise InputError(f"holds a NUL character at {text.index(chr(0))}: it is no text in {encoding}")
    return text


def _delimiter_of(text: str) -> str:
    """Returns the delimiter that occurs most in the first line outside of quotes, a comma where none does."""
    header = "".join(text.lstrip("\r\n").partition("\n")[0].split('"')[::2])
    counts = Counter({sign: header.count(sign) for sign in DELIMITERS})
    return max(DELIMITERS, key=lambda sign: (counts[sign], -DELIMITERS.index(sign)))


def _check_names(names: list[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise InputError(f"it has {len(names):,} columns, at most {MAX_COLUMNS:,} are read")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = [str(place) for place, name in enumerate(names, 1) if name == twice[0]]
        raise InputError(
            f"the column name {twice[0][:80]!r} stands at {' and '.join(places[:5])}: give every column a name of its own"
        )


def _read_parquet(data: bytes) -> RawTable:
    import pyarrow as pa

    from population.arrow_bytes import read_parquet

    try:
        found = read_parquet(data)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"not readable as Parquet: {str(error)[:200]}") from error
    names = [str(name) for name in found.schema.names]
    _check_names(names)
    columns, unreadable = {}, {}
    for name, column in zip(names, found.columns, strict=True):
        cells = _cells_of_arrow(column)
        if cells is None:
            unreadable[name] = str(column.type)
        else:
            columns[name] = cells
    return RawTable(columns, found.num_rows, unreadable)


def _cells_of_arrow(column: Any) -> Cells | None:
    """Returns the cells of an Arrow column; None for a type that no cell has (lists, bytes, times of day)."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if pa.types.is_decimal(kind) or is_number:
        values = column.to_pylist() if pa.types.is_decimal(kind) else column.to_numpy()
        if pa.types.is_integer(kind) and any(abs(v) > MAX_WHOLE for v in column.to_pylist() if v is not None):
            return cells_of(column.to_pylist())
        return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        ticks = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
        return np.asarray(ticks.to_numpy(), dtype="datetime64[us]")
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if is_text or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        found: Cells = np.empty(len(column), dtype=object)
        found[:] = [str(v).lower() if isinstance(v, bool) else v for v in column.to_pylist()]
        return found
    return None


def _read_json(data: bytes) -> RawTable:
    """Returns the table of ``[{column: value}, ...]``, where a row may leave columns out, or of ``{column: [values]}``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not readable as JSON: {str(error)[:200]}") from error
    rows = [value] if isinstance(value, Mapping) and not any(isinstance(v, list) for v in value.values()) else value
    if isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(str(name) for row in rows for name in row))
        lists = {name: [row.get(name) for row in rows] for name in names}
    elif isinstance(rows, Mapping) and all(isinstance(values, list) for values in rows.values()):
        lists = dict(rows)
    else:
        raise InputError("expected a list of rows, [{column: value, ...}, ...], or {column: [values]}")
    if len({len(values) for values in lists.values()}) != 1:
        raise InputError("expected lists of one length, with at least one row")
    return RawTable({name: cells_of(values, name) for name, values in lists.items()}, len(next(iter(lists.values()))))


def table_of(given: Any) -> RawTable:
    """Returns the raw table of a file's path, a mapping of columns, or a pandas or Arrow table. Raises: InputError."""
    from pathlib import Path

    if isinstance(given, str | Path):
        path = Path(given)
        form = SUFFIXES.get(path.suffix.lower())
        if form is None:
            raise InputError(f"{path}: the name must end in {', '.join(SUFFIXES)}")
        try:
            return read_table(path.read_bytes(), form)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if hasattr(given, "to_pydict"):
        given = given.to_pydict()
    names = [str(name) for name in given]
    _check_names(names)
    columns = {name: cells_of(given[key], name) for name, key in zip(names, given, strict=True)}
    if len({len(cells) for cells in columns.values()}) != 1:
        raise InputError("expected columns of one length, at least one")
    return RawTable(columns, len(next(iter(columns.values()))))
