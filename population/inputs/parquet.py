"""Parquet as columns of cells, read piece by piece: what is counted is what comes, not what the file says of itself.

Text stays dictionary-encoded until it becomes cells, since a few bytes may stand for many rows of long text.

Nouns: none beyond those of tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from population.errors import InputError
from population.inputs.cells import MAX_WHOLE, Cells, cells_of
from population.inputs.parquet_pages import walk_pages
from population.inputs.table_bounds import check_names, check_size

#: The most bytes of pages that are unpacked at once, of all columns that are read together.
MAX_PAGE_BYTES: Final = 384 << 20
#: Characters of all beginnings of names that end before a dot.
_MAX_PATHS: Final = 64 << 20
_BATCH_CELLS: Final = 1 << 20
_BATCH_ROWS: Final = 1 << 16
_BATCH_BYTES: Final = 64 << 20


def read_columns(data: bytes) -> tuple[dict[str, Cells], int, dict[str, str]]:
    """The cells of every column by name, how many rows, and the types of columns that no cell has.

    Raises: InputError for bytes that are no Parquet, or hold more than the limits.
    """
    import pyarrow as pa

    try:
        return _read(data)
    except InputError:
        raise
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
    ) as error:
        raise InputError(f"not readable as Parquet: {' '.join(str(error).split())[:200]}") from error


def _read(data: bytes) -> tuple[dict[str, Cells], int, dict[str, str]]:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = pa.py_buffer(data)
    _check_dots(buffer)
    file = parquet.ParquetFile(pa.BufferReader(buffer))
    schema, claimed = file.schema_arrow, file.metadata.num_rows
    check_names([str(name) for name in schema.names])
    check_size(claimed, len(schema.names))
    pages = walk_pages(data, file.metadata)
    wanted = [field.name for field in schema if _is_readable(field.type)]
    texts = [field.name for field in schema if _is_text(field.type) and field.name not in pages.plain]
    file = parquet.ParquetFile(pa.BufferReader(buffer), read_dictionary=texts)
    rows_at_once = min(_BATCH_ROWS, max(1, _BATCH_CELLS // max(1, len(wanted))))
    if pages.repeats:
        rows_at_once = min(rows_at_once, max(1, _BATCH_BYTES // max(1, pages.largest_bytes)))
    found = _Columns(wanted)
    for names in _groups(wanted, pages.below):
        num_rows = 0
        for batch in file.iter_batches(batch_size=rows_at_once, columns=names, use_threads=False):
            num_rows += batch.num_rows
            check_size(num_rows, len(schema.names))
            found.add(batch, names)
        if num_rows != claimed:
            raise InputError(f"not readable as Parquet: it says {claimed:,} rows and holds {num_rows:,}")
    unreadable = {field.name: str(field.type) for field in schema if not _is_readable(field.type)}
    return dict(found.cells()), claimed, unreadable


def _check_dots(buffer: Any) -> None:
    """Refuses names with very many dots: ``ParquetFile`` keeps the part before each dot. Raises: InputError."""
    import pyarrow as pa
    from pyarrow.parquet.core import ParquetReader

    reader = ParquetReader()
    reader.open(pa.BufferReader(buffer))
    schema, size = reader.metadata.schema, 0
    for place in range(len(schema)):
        path = schema.column(place).path
        size += path.count(".") * len(path)
        if size > _MAX_PATHS:
            raise InputError(f"the column {path[:80]!r}, or others, have too many dots in their names: rename them")


def _groups(names: list[str], page_bytes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yields columns to unpack together, within the bound of pages. Raises: InputError for one that is beyond it alone."""
    group: list[str] = []
    left = MAX_PAGE_BYTES
    for name in names:
        size = page_bytes.get(name, 0)
        if size > MAX_PAGE_BYTES:
            raise InputError(
                f"a page of column {name[:80]!r} becomes {size:,} bytes, at most {MAX_PAGE_BYTES:,} are unpacked at once: write "
                "it with smaller row groups"
            )
        if size > left:
            yield group
            group, left = [], MAX_PAGE_BYTES
        group.append(name)
        left -= size
    if group:
        yield group


class _Columns:
    """What has come of each column: text as cells already, all else as it is packed."""

    def __init__(self, names: list[str]) -> None:
        self._pieces: dict[str, list[Any]] = {name: [] for name in names}
        self._known: dict[str, dict[str, str]] = {name: {} for name in names}

    def add(self, batch: Any, names: list[str]) -> None:
        """Takes some rows of some columns."""
        for name in names:
            column = batch.column(name)
            self._pieces[name].append(_texts(column, self._known[name]) if _is_text(column.type) else column)

    def cells(self) -> Iterator[tuple[str, Cells]]:
        """Yields name and cells, in the file's order; their Arrow pieces are freed."""
        for name in list(self._pieces):
            pieces = self._pieces.pop(name)
            self._known.pop(name)
            if not pieces:
                yield name, np.empty(0, dtype=object)
            elif isinstance(pieces[0], np.ndarray):
                yield name, np.concatenate(pieces)
            else:
                yield name, _cells(pieces)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_readable(kind: Any) -> bool:
    """Whether cells can be made of a type: not of lists, bytes and times of day."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_readable(kind.value_type)
    number = pa.types.is_decimal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    moment = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    return bool(number or moment or _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def _texts(column: Any, known: dict[str, str]) -> Cells:
    """The cells of some text; equal ones are one object."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    found: Cells = np.full(len(column), None, dtype=object)
    is_there = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    places = column.indices.drop_null().to_numpy()
    used, back = np.unique(places, return_inverse=True)
    texts = column.dictionary.take(pa.array(used)).to_pylist()
    shared: Cells = np.empty(len(texts), dtype=object)
    shared[:] = [None if text is None else known.setdefault(text, text) for text in texts]
    found[is_there] = shared[back]
    return found


def _cells(pieces: list[Any]) -> Cells:
    """The cells of what is no text."""
    import pyarrow as pa
    from pyarrow import compute

    column = pa.chunked_array(pieces)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        words = {True: "true", False: "false", None: None}
        found: Cells = np.empty(len(column), dtype=object)
        found[:] = [words[value] for value in column.to_pylist()]
        return found
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        ticks = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
        return np.asarray(ticks.to_numpy(), dtype="datetime64[us]")
    if pa.types.is_decimal(kind):
        return np.array([np.nan if v is None else float(v) for v in column.to_pylist()], dtype=np.float64)
    if pa.types.is_integer(kind):
        ends = compute.min_max(column).as_py()
        if any(end is not None and abs(end) > MAX_WHOLE for end in ends.values()):
            return cells_of(column.to_pylist())
    return np.asarray(column.to_numpy(), dtype=np.float64)
