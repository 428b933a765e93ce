"""Rare rows as Arrow columns, typed by ``schema.TABLES``, and back to exactly the mappings that were given.

Noun: *given*, a column beside the others that says which keys a row had, since a key that is absent is not a None; a name
followed by ``!`` marks a "json" column that was given as text.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from population.lineage.format.schema import TABLES, Column

_INT_RANGE = {"int": (-(1 << 63), (1 << 63) - 1), "uint": (0, (1 << 64) - 1)}


def canonical_json(value: Any) -> str:
    """Returns JSON text with sorted keys and no blanks; NaN and infinities as Python writes them. Raises ValueError."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_scalar)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not JSON-able: {error}") from error


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r:.60}")


def row_schema(table: str) -> pa.Schema:
    """Returns the physical schema of one rare-row table: owner and place of each row, what was given, the columns."""
    own = [("handle", pa.string()), ("commit_step", pa.int64()), ("position", pa.int64()), ("given", pa.string())]
    return pa.schema(own + [(column.name, _arrow_type(column.kind)) for column in TABLES[table]])


def _arrow_type(kind: str) -> pa.DataType:
    kinds = {"text": pa.string(), "json": pa.string(), "int": pa.int64(), "uint": pa.uint64()}
    kinds |= {"float": pa.float64(), "time": pa.float64(), "map": pa.map_(pa.string(), pa.float64())}
    return kinds[kind]


def to_table(table: str, rows: Sequence[Mapping[str, Any]], handle: str, step: int) -> pa.Table:
    """Returns the rows by columns. Raises ValueError naming the table, row and column of what does not fit."""
    if table not in TABLES:
        raise ValueError(f"lineage has no table {table!r}; it has {', '.join(TABLES)}")
    known = {column.name: column for column in TABLES[table]}
    keys = [tuple(row) for row in rows]
    for unknown in set().union(*keys) - known.keys():
        index = next(i for i, row in enumerate(rows) if unknown in row)
        raise ValueError(f"{table} row {index}: no column {unknown!r}; it has {', '.join(known)}")
    values = {name: _column(table, column, [row.get(name) for row in rows]) for name, column in known.items()}
    count = len(rows)
    own = [[handle] * count, [step] * count, list(range(count)), _given(known, keys, rows)]
    arrays = own + [values[name] for name in known]
    schema = row_schema(table)
    return pa.Table.from_arrays(
        [pa.array(data, field.type) for data, field in zip(arrays, schema, strict=True)], schema=schema
    )


def _column(table: str, column: Column, values: list[Any]) -> list[Any]:
    """Returns a column's values as it keeps them: at once where they are plain, one by one where they may not be."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds or (column.kind == "text" and kinds == {str}):
        return values
    if column.kind in _INT_RANGE and kinds == {int}:
        low, high = _INT_RANGE[column.kind]
        if all(value is None or low <= value <= high for value in values):
            return values
    return [_physical(f"{table} row {index}", column, value) for index, value in enumerate(values)]


def _given(known: Mapping[str, Column], keys: list[tuple[str, ...]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns for each row which keys it had; most rows of a table have the same ones."""
    marks: dict[tuple[str, ...], str] = {}
    for names in set(keys):
        if all(known[name].kind != "json" for name in names):
            marks[names] = ",".join(sorted(names))
    return [marks[names] if names in marks else _marked(known, row) for names, row in zip(keys, rows, strict=True)]


def _marked(known: Mapping[str, Column], row: Mapping[str, Any]) -> str:
    return ",".join(
        name + "!" if known[name].kind == "json" and isinstance(row[name], str) else name for name in sorted(row)
    )


def _physical(where: str, column: Column, value: Any) -> Any:
    """Returns a value as its column keeps it."""
    if value is None:
        return None
    if column.kind == "json" and not isinstance(value, str):
        return canonical_json(value)
    if column.kind == "json":
        _check_json(where, column, value)
        return value
    if column.kind == "text" and isinstance(value, str):
        return value
    if column.kind in _INT_RANGE and isinstance(value, int | np.integer) and not isinstance(value, bool):
        low, high = _INT_RANGE[column.kind]
        if low <= operator.index(value) <= high:
            return operator.index(value)
    if column.kind in ("float", "time") and _is_number(value):
        return float(value)
    if column.kind == "map" and isinstance(value, Mapping) and all(map(_is_map_entry, value.items())):
        return [(key, None if entry is None else float(entry)) for key, entry in value.items()]
    raise ValueError(f"{where}: column {column.name!r} holds {column.kind}, got {type(value).__name__} {value!r:.60}")


def _check_json(where: str, column: Column, text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: column {column.name!r} was given text that is not JSON: {text!r:.60}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_map_entry(entry: tuple[Any, Any]) -> bool:
    return isinstance(entry[0], str) and (entry[1] is None or _is_number(entry[1]))


def from_table(table: str, rows: pa.Table) -> list[dict[str, Any]]:
    """Returns the mappings that ``to_table`` was given."""
    kinds = {column.name: column.kind for column in TABLES[table]}
    found: list[dict[str, Any]] = []
    for row in rows.to_pylist():
        mapping: dict[str, Any] = {}
        for mark in filter(None, row["given"].split(",")):
            name = mark.removesuffix("!")
            value = row[name]
            if kinds[name] == "json" and value is not None and not mark.endswith("!"):
                value = json.loads(value)
            elif kinds[name] == "map" and value is not None:
                value = dict(value)
            mapping[name] = value
        found.append(mapping)
    return found
