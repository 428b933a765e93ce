"""DuckDB over lineages: a connection with the views, and one hardened SELECT. DuckDB is imported when it is needed.

Nouns: *limits* bound one query; a *source* is one physical table, its Parquet files read lazily, the rest in memory.
What settings cannot bound (memory inside one scalar function) needs a process of its own around this module.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from population.errors import InputError
from population.lineage.payload import chunk_schema
from population.lineage.schema import SEALED, VIEW_NAMES
from population.lineage.segments import read_table
from population.lineage.view_sql import definitions

if TYPE_CHECKING:
    from population.lineage.reader import LineageReader

_FUNCTIONS = {"range", "generate_series", "unnest", "duckdb_columns", "duckdb_views", "json_each", "json_tree"}
_FORBIDDEN_SCALARS = {"current_setting", "getvariable", "getenv"}
_DESCRIBE = re.compile(r"\s*(?:describe|desc)\s+\"?(\w+)\"?\s*;?\s*", re.IGNORECASE)
_RECURSIVE = re.compile(r"\brecursive\b.*\bparents\b", re.IGNORECASE | re.DOTALL)
_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class QueryLimits:
    """Bounds of one query; beyond them it ends with InputError. ``memory`` is in DuckDB's words."""

    timeout_s: float = 60.0
    memory: str = "1GB"
    rows: int = 1_000_000
    threads: int = 1


def open_connection(reader: LineageReader, limits: QueryLimits | None = None, *, is_recursive: bool = False) -> Any:
    """Returns an in-memory connection with the views of every lineage of a home; hardened where limits are given.

    With ``is_recursive`` the view ``parents`` is unfolded once, since a pedigree reads it again for every generation.
    """
    import duckdb

    safe: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "allow_persistent_secrets": "false",
    }
    with contextlib.ExitStack() as undo:
        connection = undo.enter_context(duckdb.connect(":memory:", config=safe if limits else {}))
        connection.execute("SET python_enable_replacements=false")
        paths = _load(connection, reader)
        for statement in definitions(is_recursive=is_recursive):
            connection.execute(statement)
        if limits:
            _harden(connection, limits, paths)
        undo.pop_all()
    return connection


def _harden(connection: Any, limits: QueryLimits, paths: list[Path]) -> None:
    """Closes every way out of the views; the last two settings cannot be undone."""
    allowed = ", ".join(_quoted(str(path)) for path in paths)
    connection.execute("SET allow_extension_repositories='forbidden'")
    connection.execute(f"SET allowed_paths=[{allowed}]")
    connection.execute(f"SET memory_limit={_quoted(limits.memory)}")
    connection.execute(f"SET threads={int(limits.threads)}")
    connection.execute("SET temp_directory=''")
    connection.execute("SET max_temp_directory_size='0KB'")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def _load(connection: Any, reader: LineageReader) -> list[Path]:
    """Makes the physical tables of all lineages; returns the files that are read lazily."""
    lazy: dict[str, list[Path]] = {table: [] for table in SEALED}
    memory: dict[str, list[pa.Table]] = {table: [] for table in SEALED}
    layouts: dict[str, str] = {}
    for handle in reader.handles():
        snapshot = reader.snapshot(handle)
        layouts |= snapshot.manifest.layouts
        layouts |= snapshot.tail.layouts
        for table, paths in reader.segment_files(snapshot.manifest).items():
            for path in paths:
                if path.is_file():
                    lazy[table].append(path)
                else:  # a file system that is not the machine's own
                    memory[table].append(read_table(reader.files.read_bytes(path), table))
        for table, rows in snapshot.tail.tables.items():
            memory[table].append(rows)
    connection.execute("CREATE SCHEMA physical")
    for table in SEALED:
        _source(connection, table, lazy[table], pa.concat_tables([chunk_schema(table).empty_table(), *memory[table]]))
    for name, rows in _layout_tables(layouts).items():
        _copy(connection, name, rows)
    return [path for paths in lazy.values() for path in paths]


def _source(connection: Any, table: str, paths: list[Path], rows: pa.Table) -> None:
    if not paths:
        _copy(connection, table, rows)
        return
    _copy(connection, f"{table}_tail", rows)
    listed = ", ".join(_quoted(str(path)) for path in paths)
    connection.execute(
        f"CREATE VIEW physical.{table} AS SELECT * FROM read_parquet([{listed}], union_by_name=true) "
        f"UNION ALL BY NAME SELECT * FROM physical.{table}_tail"
    )


def _copy(connection: Any, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"CREATE TABLE physical.{name} AS SELECT * FROM incoming")
    connection.unregister("incoming")


def _layout_tables(layouts: dict[str, str]) -> dict[str, pa.Table]:
    """Returns what layouts say as tables; positions count from 1, as lists do in SQL."""
    rows: dict[str, list[dict[str, Any]]] = {"measures": [], "skill_measures": [], "layout_tiers": []}
    for layout, constants in layouts.items():
        value = json.loads(constants)
        tiers = value["tiers"]
        for index, tier in enumerate(tiers):
            rows["layout_tiers"].append({"layout": layout, "position": index + 1, "tier": tier})
        for kind in ("measures", "skill_measures"):
            for index, (benchmark, split, tier, name) in enumerate(value[kind]):
                row = {"layout": layout, "position": index + 1, "benchmark": benchmark, "split": split, "tier": tier}
                row |= {"name": name, "tier_position": tiers.index(tier) + 1 if tier in tiers else None}
                row |= {key: value[key] for key in ("num_samples", "sandbox_level", "environment")}
                rows[kind].append(row)
    text, integer = pa.string(), pa.int64()
    tier_schema = pa.schema([("layout", text), ("position", integer), ("tier", text)])
    rest = [("benchmark", text), ("split", text), ("name", text), ("tier_position", integer), ("num_samples", integer)]
    schema = pa.schema([*tier_schema, *pa.schema(rest), *pa.schema([("sandbox_level", text), ("environment", text)])])
    return {k: pa.Table.from_pylist(v, schema=tier_schema if k == "layout_tiers" else schema) for k, v in rows.items()}


def run_query(reader: LineageReader, sql: str, limits: QueryLimits | None) -> pa.Table:
    """Returns the rows of one SELECT (or DESCRIBE, SHOW, SUMMARIZE) over the views. Raises InputError."""
    import duckdb

    limits = limits or QueryLimits()
    connection = open_connection(reader, limits, is_recursive=_RECURSIVE.search(sql) is not None)
    try:
        with _deadline(connection, limits.timeout_s):
            _check_statement(connection, sql)
            return _fetch(connection, _described(sql), limits)
    except duckdb.InterruptException as error:
        raise InputError(f"query: stopped after {limits.timeout_s:g} s; narrow it, or allow more time") from error
    except duckdb.OutOfMemoryException as error:
        raise InputError(f"query: needs more than {limits.memory} of memory; narrow it, or allow more") from error
    except duckdb.Error as error:
        raise InputError(
            f"query: {error}\nThe views are: {', '.join(VIEW_NAMES)} (DESCRIBE one for its columns)"
        ) from error
    finally:
        connection.close()


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


def _fetch(connection: Any, sql: str, limits: QueryLimits) -> pa.Table:
    stream = connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
    batches, count = [], 0
    for batch in stream:
        batches.append(batch)
        count += batch.num_rows
        if count > limits.rows:
            raise InputError(f"query: more than {limits.rows} rows; add LIMIT or an aggregate, or allow more rows")
    return pa.Table.from_batches(batches, schema=stream.schema)


def _described(sql: str) -> str:
    """Returns the SQL; DESCRIBE of one of the views becomes a SELECT that tells each column's meaning too."""
    found = _DESCRIBE.fullmatch(sql)
    if not found or found[1].lower() not in VIEW_NAMES:
        return sql
    return (
        "SELECT column_name, data_type AS column_type, comment AS meaning FROM duckdb_columns() "
        f"WHERE schema_name = 'main' AND table_name = {_quoted(found[1].lower())} ORDER BY column_index"
    )


def _check_statement(connection: Any, sql: str) -> None:
    """Raises InputError for anything that is not one SELECT over views."""
    statements = connection.extract_statements(sql)
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if kinds not in (["SELECT"], ["EXPLAIN"]):
        raise InputError(f"query: expected one SELECT, got {', '.join(kinds) or 'nothing'}; lineages are read only")
    if kinds == ["EXPLAIN"]:
        sql = re.sub(r"^\s*explain\s+(analyze\s+)?", "", sql, flags=re.IGNORECASE)
    text = connection.execute("SELECT json_serialize_sql(CAST($1 AS VARCHAR))", [sql]).fetchall()[0][0]
    tree = json.loads(text)
    for node in _nodes(tree):
        name = str(node.get("function_name", "")).lower()
        is_table = "function" in node and isinstance(node["function"], dict)
        if is_table and str(node["function"].get("function_name", "")).lower() not in _FUNCTIONS:
            raise InputError(
                f"query: the table function {node['function'].get('function_name')!r} is not open to queries"
            )
        if name in _FORBIDDEN_SCALARS:
            raise InputError(f"query: the function {name!r} is not open to queries")


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


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
