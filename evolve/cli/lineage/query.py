"""``evolve query``: SQL over the lineage, also while campaigns run."""

from __future__ import annotations

import csv
import io
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.lineage.arrow_values import values_of
from evolve.cli.shared import options, output
from evolve.cli.shared.streams import refused

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TABLE_ROWS = 100
#: Ids are shown by their first characters in tables, never in the other formats.
_LONG_ID = re.compile(r"[0-9a-f]{32,}|b[a-z2-7]{40,}")


class Format(StrEnum):
    """How rows are written."""

    table = "table"
    json = "json"
    csv = "csv"
    arrow = "arrow"
    parquet = "parquet"


def query(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help='One SELECT; "SHOW TABLES" and "DESCRIBE scores" work too.')
    ],
    format: Annotated[Format, typer.Option("--format", "-f", help="How rows are written.")] = Format.table,  # noqa: A002 -- the option's name
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of standard output."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds the query may take.")] = 60.0,
    memory: Annotated[str, typer.Option("--memory", help="Memory it may take, such as 512MB or 4GiB.")] = "1GiB",
    max_rows: Annotated[int, typer.Option("--rows", min=0, help="Rows it may yield; more are refused.")] = 1_000_000,
    home: options.HomeOption = None,
) -> None:
    """Ask the lineage in SQL.

    Views: campaigns, generations, individuals, parents, recipes, scores, skills, tiers, quarantine, promotions, blocks,
    lifecycle, executions, exits, families, usage, incidents, leaves; ancestors('ID') and descendants('ID') are everyone an
    individual descends from, and who descends from it. A table shows short ids and at most 100 rows; the other
    formats give everything in full, the second of two equal column names as NAME_2. Only reads; works while campaigns
    run, on a whole number of their steps. The SQL runs in a process of its own that can read the lineage and nothing
    else: it may come from anyone.

    Examples:
      evolve query "DESCRIBE scores"
      evolve query "SELECT operator, count(*) AS births FROM individuals GROUP BY 1 ORDER BY 2 DESC"
      evolve query "SELECT individual, value FROM scores WHERE objective = 'accuracy' AND split = 'validation'
                    AND tier = 'ultimate' ORDER BY value DESC LIMIT 10"
      evolve query "SELECT operator, count(*) FROM ancestors('3f9c2a7d') JOIN individuals USING (individual) GROUP BY 1"
      evolve query "SELECT * FROM scores" --format parquet --output scores.parquet
    """
    from population.lineage.sql.limits import QueryLimits

    _refuse_terminal(Format.json if as_json else format, to)
    rows = options.open_home(home).query(sql, QueryLimits(timeout_s=timeout, memory=memory, rows=max_rows))
    chosen = Format.json if as_json else format
    if chosen is Format.table and to is None:
        _show_table(rows)
        return
    if chosen is Format.table and to is not None:
        chosen = {".json": Format.json, ".arrow": Format.arrow, ".parquet": Format.parquet}.get(to.suffix, Format.csv)
    data = _encoded(rows, chosen)
    if to is not None:
        _write(to, data)
        output.note(f"{rows.num_rows:,} rows in {to}")
    else:
        _write_to_stdout(data)


def _show_table(rows: pa.Table) -> None:
    shown = rows.slice(0, MAX_TABLE_ROWS)
    columns = [[_cell(value) for value in values_of(column)] for column in shown.columns]
    right = [name for name, column in zip(rows.column_names, rows.columns, strict=True) if _is_number(column.type)]
    cells = list(zip(*columns, strict=True)) if columns else []
    output.show(display.table(rows.column_names, cells, right))
    if rows.num_rows > MAX_TABLE_ROWS:
        more = rows.num_rows - MAX_TABLE_ROWS
        output.note(f"... and {more:,} more rows: --format csv, json, arrow or parquet gives them all")
    elif not rows.num_rows:
        output.note("no rows")


def _encoded(rows: pa.Table, chosen: Format) -> bytes:
    if chosen in (Format.parquet, Format.arrow):
        return _as_file(rows, chosen)
    columns = [values_of(column) for column in rows.columns]
    lines: list[Any] = list(zip(*columns, strict=True))
    if chosen is Format.json:
        texts = [output.json_text(dict(zip(rows.column_names, line, strict=True))) for line in lines]
        return ("[" + ",\n ".join(texts) + "]\n").encode()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    writer.writerows([[_csv_cell(value) for value in line] for line in lines])
    return text.getvalue().encode()


def _as_file(rows: pa.Table, chosen: Format) -> bytes:
    """Returns the rows as a Parquet or an Arrow file. Raises InputError for a type that the format does not have."""
    import pyarrow as pa

    from population.errors import InputError

    sink = io.BytesIO()
    try:
        if chosen is Format.parquet:
            import pyarrow.parquet as pq

            pq.write_table(rows, sink, compression="zstd")
        else:
            with pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise InputError(
            f"query: {chosen} cannot hold a column of these ({error}); cast it to text, such as column::VARCHAR, or choose "
            "another --format"
        ) from error
    return sink.getvalue()


def _write(path: Path, data: bytes) -> None:
    from population.files.local_files import LocalFiles

    output.check_writable(path, "--output")
    LocalFiles().write_atomic(path.absolute(), data, mode=0o644, replace=True)


def _refuse_terminal(chosen: Format, to: Path | None) -> None:
    """Raises InputError where bytes that are no text would go to a terminal."""
    from population.errors import InputError

    if to is None and chosen in (Format.arrow, Format.parquet) and sys.stdout.isatty():
        raise InputError(f"{chosen} is not for a terminal: name a file with --output, or redirect standard output")


def _write_to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise refused(error) from error


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _cell(value: Any) -> str:
    """Returns a value as it stands in a table: rounded, and ids cut to what is enough to type back."""
    from evolve.display import short_id

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return short_id(value) if _LONG_ID.fullmatch(value) and not value.isdecimal() else value
    if hasattr(value, "strftime") and hasattr(value, "hour"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    return output.json_text(value) if isinstance(value, (list, dict)) else str(value)


def _csv_cell(value: Any) -> Any:
    return output.json_text(value) if isinstance(value, (list, dict)) else output.plain(value)
