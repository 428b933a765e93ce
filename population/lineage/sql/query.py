"""One hardened SELECT over the views, inside this process. DuckDB is imported when it is needed.

Noun: a *statement tree*, the parsed SQL as JSON, in which every table and function is looked up before anything runs.
What DuckDB's settings cannot bound (memory inside one scalar function, time inside one operator) needs a process of its
own around this module: ``evolve.home.jailed_query``.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from population.errors import InputError
from population.lineage.format.schema import VIEW_NAMES
from population.lineage.sql.connection import open_connection, quoted
from population.lineage.sql.limits import QueryLimits, check_text
from population.lineage.sql.pedigrees import FUNCTIONS
from population.lineage.sql.portable import portable

if TYPE_CHECKING:
    from population.lineage.journal.reader import LineageReader

_TABLE_FUNCTIONS = {
    "range", "generate_series", "unnest", "duckdb_columns", "duckdb_views", "json_each", "json_tree", *FUNCTIONS
}  # fmt: skip
_FORBIDDEN_SCALARS = {
    "current_setting", "getvariable", "getenv", "write_log", "json_serialize_plan", "json_execute_serialized_sql",
}  # fmt: skip
_SCHEMAS = {"", "main", "information_schema"}
_DESCRIBE = re.compile(r"\s*(?:describe|desc)\s+\"?(\w+)\"?\s*;?\s*", re.IGNORECASE)
_COMMENT = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_EXPLAIN = re.compile(rf"{_COMMENT}explain\b{_COMMENT}(?:analy[sz]e\b)?{_COMMENT}", re.IGNORECASE | re.DOTALL)
_BATCH_ROWS = 16_384
#: The most characters that are shown of an error of DuckDB.
MAX_MESSAGE = 2_000


def run_query(reader: LineageReader, sql: str, limits: QueryLimits | None = None) -> pa.Table:
    """Returns the rows of one SELECT (or DESCRIBE, SHOW, SUMMARIZE) over the views. Raises InputError."""
    limits = limits or QueryLimits()
    check_text(sql)
    with contextlib.closing(open_connection(reader, limits, asked=sql)) as connection:
        with _deadline(connection, limits.timeout_s), told_in_words(limits):
            batches = list(batches_of(connection, sql, limits))
        return pa.Table.from_batches(batches[1:], schema=batches[0].schema)


def batches_of(connection: Any, sql: str, limits: QueryLimits) -> Iterator[pa.RecordBatch]:
    """Returns an empty batch that shows the columns, then the rows, on a hardened connection. A name that comes twice
    gets a number: ``name``, ``name_2``.

    Raises:
        InputError: not one SELECT, a table or function that is not open to queries, too many rows.
    """
    _check_statement(connection, sql)
    found = connection.sql(_described(sql))
    names = distinct_names(found.columns)
    stream = portable(found, names).to_arrow_reader(_BATCH_ROWS)
    schema = pa.schema([field.with_name(name) for field, name in zip(stream.schema, names, strict=True)])
    yield pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    count = 0
    for batch in stream:
        count += batch.num_rows
        if count > limits.rows:
            raise InputError(f"query: more than {limits.rows} rows; add LIMIT or an aggregate, or allow more rows")
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def distinct_names(names: list[str]) -> list[str]:
    """Returns the names, a number after each that was there before: JSON objects and Parquet files have each name once."""
    found: list[str] = []
    for name in names:
        unique, number = name, 2
        while unique in found or (unique != name and unique in names):
            unique, number = f"{name}_{number}", number + 1
        found.append(unique)
    return found


@contextlib.contextmanager
def told_in_words(limits: QueryLimits) -> Iterator[None]:
    """Turns what DuckDB raises inside into InputError: what was wrong, and what to do."""
    import duckdb

    try:
        yield
    except duckdb.InterruptException as error:
        raise InputError(f"query: stopped after {limits.timeout_s:g} s; narrow it, or allow more time") from error
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError) as error:
        raise InputError(f"query: needs more than {limits.memory} of memory; narrow it, or allow more") from error
    except RecursionError as error:
        raise InputError("query: it is nested too deeply") from error
    except duckdb.Error as error:
        raise InputError(
            f"query: {_shortened(str(error))}\nThe views are: {', '.join(VIEW_NAMES)} (DESCRIBE one for its columns)"
        ) from error
    except pa.ArrowException as error:
        raise InputError(
            f"query: a column cannot be handed on ({_shortened(str(error))}); cast it to text, such as column::VARCHAR"
        ) from error


def _shortened(text: str) -> str:
    """Returns the message of an error, of a long one its beginning: it may quote a value of any length."""
    left_out = len(text) - MAX_MESSAGE
    return text if left_out <= 0 else f"{text[:MAX_MESSAGE]} ... ({left_out:,} more characters)"


@contextlib.contextmanager
def _deadline(connection: Any, timeout_s: float) -> Iterator[None]:
    """Interrupts whatever the connection does after ``timeout_s``, again and again until the block ends."""
    done = threading.Event()

    def watch() -> None:
        if not done.wait(timeout_s):
            while not done.wait(0.02):
                connection.interrupt()

    watcher = threading.Thread(target=watch, name="query-deadline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _described(sql: str) -> str:
    """Returns the SQL; DESCRIBE of one of the views becomes a SELECT that tells each column's meaning too."""
    found = _DESCRIBE.fullmatch(sql)
    if not found or found[1].lower() not in VIEW_NAMES:
        return sql
    return (
        "SELECT column_name, data_type AS column_type, comment AS meaning FROM duckdb_columns() "
        f"WHERE schema_name = 'main' AND table_name = {quoted(found[1].lower())} ORDER BY column_index"
    )


def _check_statement(connection: Any, sql: str) -> None:
    """Raises InputError for anything that is not one SELECT over views."""
    statements = connection.extract_statements(sql)
    kinds = [_kind(statement) for statement in statements]
    if kinds not in (["SELECT"], ["EXPLAIN"]):
        raise InputError(f"query: expected one SELECT, got {', '.join(kinds) or 'nothing'}; lineages are read only")
    if kinds == ["EXPLAIN"]:
        sql = _EXPLAIN.sub("", sql, count=1)
    text = connection.execute("SELECT json_serialize_sql(CAST($1 AS VARCHAR))", [sql]).fetchall()[0][0]
    tree = json.loads(text)
    if tree.get("error"):
        raise InputError(f"query: it cannot be checked, so it is not run: {tree.get('error_message')}")
    nodes = list(_nodes(tree))
    named = {str(entry["key"]).lower() for node in nodes for entry in _common_tables(node)}
    for node in nodes:
        _check_node(node, named)


def _kind(statement: Any) -> str:
    try:
        return str(statement.type).rpartition(".")[2]
    except ValueError:  # DuckDB's Python knows fewer kinds than DuckDB
        return "a statement of another kind"


def _check_node(node: dict[str, Any], named: set[str]) -> None:
    """Raises InputError where one node of a statement tree names what is not open to queries."""
    if isinstance(node.get("function"), dict):
        name = str(node["function"].get("function_name", "")).lower()
        if name not in _TABLE_FUNCTIONS:
            raise InputError(f"query: the table function {name!r} is not open to queries")
    if str(node.get("function_name", "")).lower() in _FORBIDDEN_SCALARS:
        raise InputError(f"query: the function {node['function_name']!r} is not open to queries")
    if node.get("type") == "BASE_TABLE":
        schema, table = str(node.get("schema_name", "")).lower(), str(node.get("table_name", "")).lower()
        is_known = table in VIEW_NAMES or table in named if schema in ("", "main") else True
        if schema not in _SCHEMAS or node.get("catalog_name") or not is_known:
            shown = ".".join(filter(None, (node.get("catalog_name"), schema, table)))
            views = ", ".join(VIEW_NAMES)
            raise InputError(f"query: {shown} does not exist\nThe views are: {views} (DESCRIBE one for its columns)")


def _common_tables(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the named subqueries (WITH) of a node."""
    found = node.get("cte_map")
    entries = found.get("map", []) if isinstance(found, dict) else []
    return [entry for entry in entries if isinstance(entry, dict) and "key" in entry]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Returns every mapping of a JSON tree, without recursion."""
    stack = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
