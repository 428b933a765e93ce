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

from population.errors import InputError
from population.files.user_file import read_user_file
from population.inputs.cells import Cells, cells_of
from population.inputs.parquet import read_columns
from population.inputs.table_bounds import check_csv, check_json, check_names, check_size, look_for

FORMATS = ("csv", "parquet", "json")
SUFFIXES: Mapping[str, str] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".json": "json",
}  # fmt: skip
DELIMITERS = (",", ";", "\t", "|")
MAX_FILE_BYTES = 1 << 30


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

    from population.files.arrow_bytes import own_copy

    plain, header = _decoded(data, encoding)
    sign = delimiter or _delimiter_of(header)
    check_csv(plain, sign)
    size = min(2**31 - 2, max(1 << 20, len(plain) + 1))  # one block: a cell may be as large as the file
    try:
        convert = csv.ConvertOptions(strings_can_be_null=False, default_column_type=pa.string())
        parse = csv.ParseOptions(delimiter=sign, newlines_in_values=True)
        read = csv.ReadOptions(block_size=size, use_threads=False)
        found = csv.read_csv(own_copy(plain), read, parse, convert)
        names = [name.strip() or f"unnamed {place}" for place, name in enumerate(found.schema.names, 1)]
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise InputError(
            f"not readable as CSV with {sign!r} between cells: {str(error)[:200]}; quote cells that hold {sign!r}, or name "
            "another delimiter"
        ) from error
    check_names(names)
    check_size(found.num_rows, len(names))
    columns = [column.combine_chunks().to_numpy(zero_copy_only=False) for column in found.columns]
    return RawTable(dict(zip(names, columns, strict=True)), found.num_rows)


def _decoded(data: bytes, encoding: str) -> tuple[bytes, str]:
    """The text as UTF-8, and its first line. Raises: InputError."""
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark) and encoding == "utf-8":
            raise InputError(f"its text is {name}, not utf-8: name the encoding, e.g. data.encoding={name}")
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError:
        raise InputError(f"there is no encoding {encoding!r}; usual ones are utf-8, latin-1, cp1252, utf-16") from None
    except ValueError as error:  # of a text that is none, or a name of an encoding that cannot be
        start = getattr(error, "start", 0)
        line = data[:start].count(b"\n") + 1
        raise InputError(
            f"line {line}, byte {start}: its text is not {encoding}: save it as utf-8, or name the encoding, e.g. "
            "data.encoding=latin-1"
        ) from None
    if "\0" in text:
        raise InputError(f"holds a NUL character at {text.index(chr(0))}: it is no text in {encoding}")
    try:
        plain = data.removeprefix(codecs.BOM_UTF8) if encoding == "utf-8" else text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"holds half of a character at {error.start}: it is no text in {encoding}") from None
    start = len(text) - len(text.lstrip("\r\n")) if text[:1] in "\r\n" else 0
    end = text.find("\n", start)
    return plain, text[start : end if end >= 0 else len(text)]


def _delimiter_of(line: str) -> str:
    """Returns the delimiter that occurs most in the first line outside of quotes, a comma where none does."""
    header = "".join(line.split('"')[::2])
    counts = Counter({sign: header.count(sign) for sign in DELIMITERS})
    return max(DELIMITERS, key=lambda sign: (counts[sign], -DELIMITERS.index(sign)))


def _read_parquet(data: bytes) -> RawTable:
    columns, num_rows, unreadable = read_columns(data)
    return RawTable(columns, num_rows, unreadable)


def _read_json(data: bytes) -> RawTable:
    """Returns the table of ``[{column: value}, ...]``, where a row may leave columns out, or of ``{column: [values]}``."""
    check_json(data)
    try:
        value = json.loads(data)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # half of a character is no text
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"not readable as JSON: {str(error)[:200]}") from error
    rows = [value] if isinstance(value, Mapping) and not any(isinstance(v, list) for v in value.values()) else value
    if isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(str(name) for row in rows for name in row))
        check_size(len(rows), len(names))
        lists = {name: [row.get(name) for row in rows] for name in names}
    elif isinstance(rows, Mapping) and all(isinstance(values, list) for values in rows.values()):
        lists = {str(name): values for name, values in rows.items()}
        check_names(list(lists))
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
        look = look_for(form, str(path), InputError)
        return read_table(read_user_file(path, MAX_FILE_BYTES, str(path), remedy="split it", look=look), form)
    if hasattr(given, "to_pydict"):
        given = given.to_pydict()
    names = [str(name) for name in given]
    check_names(names)
    columns = {name: cells_of(given[key], name) for name, key in zip(names, given, strict=True)}
    if len({len(cells) for cells in columns.values()}) != 1:
        raise InputError("expected columns of one length, at least one")
    return RawTable(columns, len(next(iter(columns.values()))))
