"""DuckDB over lineages: a connection with the views, hardened or free. DuckDB is imported when it is needed.

Noun: a *source* is one physical table, its Parquet files read lazily, the rest in memory.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from population.lineage.format.commits import chunk_schema
from population.lineage.format.schema import SEALED
from population.lineage.sql.pedigrees import functions, is_named, is_recursive
from population.lineage.sql.views import definitions

if TYPE_CHECKING:
    from population.lineage.journal.reader import LineageReader
    from population.lineage.sql.limits import QueryLimits


#: What the views show; a replay reads the commits.
_VIEWED = tuple(table for table in SEALED if table != "commits")


def open_connection(reader: LineageReader, limits: QueryLimits | None = None, *, asked: str = "") -> Any:
    """Returns an in-memory connection with the views of every lineage of a home; hardened where limits are given.

    ``asked`` is the statement it is for, where that is known: what a pedigree reads again for every generation is made once.
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
        connection = undo.enter_context(
            duckdb.connect(":memory:", config=safe | {"threads": limits.threads, "async_threads": 0} if limits else {})
        )
        connection.execute("SET python_enable_replacements=false")
        paths = _load(connection, reader)
        pedigrees = functions(by_number=is_named(asked))
        for statement in (*definitions(is_recursive=is_recursive(asked)), *pedigrees):
            connection.execute(statement)
        if limits:
            _harden(connection, limits, paths)
        undo.pop_all()
    return connection


def _harden(connection: Any, limits: QueryLimits, paths: list[Path]) -> None:
    """Closes every way out of the views; the last two settings cannot be undone."""
    allowed = ", ".join(quoted(str(path)) for path in paths)
    connection.execute("SET allow_extension_repositories='forbidden'")
    connection.execute(f"SET allowed_paths=[{allowed}]")
    connection.execute(f"SET memory_limit='{limits.memory_bytes}B'")
    connection.execute("SET temp_directory=''")
    connection.execute("SET max_temp_directory_size='0KB'")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def _load(connection: Any, reader: LineageReader) -> list[Path]:
    """Makes the physical tables of all lineages; returns the files that are read lazily."""
    lazy: dict[str, list[Path]] = {table: [] for table in _VIEWED}
    memory: dict[str, list[pa.Table]] = {table: [] for table in _VIEWED}
    layouts: dict[str, str] = {}
    for handle in reader.handles():
        snapshot, paths, sealed = reader.whole(handle)
        layouts |= snapshot.manifest.layouts
        layouts |= snapshot.tail.layouts
        for table in _VIEWED:
            lazy[table] += paths.get(table, [])
            memory[table] += sealed.get(table, [])
        for table, rows in snapshot.tail.tables.items():
            if table in _VIEWED:
                memory[table].append(rows)
    connection.execute("CREATE SCHEMA physical")
    for table in _VIEWED:
        _source(connection, table, lazy[table], pa.concat_tables([chunk_schema(table).empty_table(), *memory[table]]))
    for name, rows in _layout_tables(layouts).items():
        _copy(connection, name, rows)
    return [path for paths in lazy.values() for path in paths]


def _source(connection: Any, table: str, paths: list[Path], rows: pa.Table) -> None:
    if not paths:
        _copy(connection, table, rows)
        return
    _copy(connection, f"{table}_tail", rows)
    listed = ", ".join(quoted(str(path)) for path in paths)
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


def quoted(text: str) -> str:
    """Returns the text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
