"""A commit as the bytes of one frame, and many frames as tables: what a segment seals and a view reads.

Nouns: a *payload* is a compressed head (JSON: step, events, incidents, what follows) with one Arrow IPC stream per batch
of births and per table of rare rows; a *chunk* is the tables of some consecutive commits, whether they came from frames
or from segments.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from population.errors import LineageCorrupt
from population.lineage.format import births as columns
from population.lineage.format.frames import COMMIT, INCIDENT, Frame
from population.lineage.format.rare_rows import canonical_json, from_table, row_schema, to_table
from population.lineage.format.records import Commit
from population.lineage.format.schema import SEALED

_SIZES = struct.Struct("<QI")
_MAX_RAW = 1 << 32


@dataclass(frozen=True)
class Chunk:
    """Consecutive commits as tables, by name (those of ``SEALED``; an absent one is empty), and the layouts they name."""

    tables: Mapping[str, pa.Table]
    layouts: Mapping[str, str]


def chunk_schema(table: str) -> pa.Schema:
    """Returns the schema of one table of a chunk."""
    text, integer = pa.string(), pa.int64()
    if table == "births":
        return columns.sealed_schema()
    if table == "commits":
        return pa.schema(
            [("handle", text), ("step", integer), ("births", text), ("rows", text), ("events", text), ("chain", text)]
        )
    if table == "incidents":
        return pa.schema(
            [("handle", text), ("step", integer), ("kind", text), ("detail", text), ("is_recovery", pa.bool_())]
        )
    return row_schema(table)


def encode_commit(commit: Commit) -> bytes:
    """Returns the payload. Raises ValueError naming the table and column of what does not fit."""
    parts = [("births", _stream(columns.to_batch(batch))) for batch in commit.births]
    for table, rows in commit.rows.items():
        parts.append((table, _stream(to_table(table, rows, "", commit.step))))
    head = {
        "step": commit.step,
        "events": [dict(event) for event in commit.events],
        "incidents": [dict(incident) for incident in commit.incidents],
        "parts": [[name, len(data)] for name, data in parts],
    }
    head_bytes = canonical_json(head).encode()
    raw = b"".join([head_bytes, *(data for _, data in parts)])
    packed: bytes = pa.Codec("zstd", 1).compress(raw, asbytes=True)
    return _SIZES.pack(len(raw), len(head_bytes)) + packed


def _stream(data: pa.RecordBatch | pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write(data)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _unpack(frame: Frame, where: str) -> tuple[dict[str, Any], list[tuple[str, pa.RecordBatchReader]]]:
    """Returns a commit frame's head and its streams. The frame's hash was checked, so failure means a faulty writer."""
    raw_size, head_size = _SIZES.unpack_from(frame.payload)
    if raw_size > _MAX_RAW:
        raise LineageCorrupt(f"{where}: the commit at byte {frame.position} claims {raw_size} bytes")
    raw = pa.Codec("zstd").decompress(memoryview(frame.payload)[_SIZES.size :], decompressed_size=raw_size)
    head = json.loads(raw.slice(0, head_size).to_pybytes())
    streams = []
    start = head_size
    for name, size in head["parts"]:
        streams.append((name, pa.ipc.open_stream(raw.slice(start, size))))
        start += size
    return head, streams


def chunk_of_frames(frames: Iterable[Frame], handle: str, where: str) -> Chunk:
    """Returns the chunk that a journal's frames hold. Raises LineageCorrupt where a whole frame cannot be understood."""
    pieces: dict[str, list[pa.Table]] = {}
    layouts: dict[str, str] = {}
    for frame in frames:
        try:
            if frame.kind == COMMIT:
                _add_commit(frame, handle, where, pieces, layouts)
            elif frame.kind == INCIDENT:
                value = json.loads(frame.payload)
                _add(pieces, "incidents", _incidents([value["incident"]], handle, value["step"], is_recovery=True))
        except (pa.ArrowException, struct.error, KeyError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise LineageCorrupt(
                f"{where}: the frame at byte {frame.position} cannot be understood: {error}"
            ) from error
    return Chunk({name: pa.concat_tables(tables) for name, tables in pieces.items()}, layouts)


def _add(pieces: dict[str, list[pa.Table]], table: str, rows: pa.Table) -> None:
    pieces.setdefault(table, []).append(rows)


def _add_commit(
    frame: Frame, handle: str, where: str, pieces: dict[str, list[pa.Table]], layouts: dict[str, str]
) -> None:
    head, streams = _unpack(frame, where)
    step = head["step"]
    batches: list[list[Any]] = []
    rows: dict[str, int] = {}
    for name, reader in streams:
        if name == "births":
            batch = reader.read_next_batch()
            constants = columns.batch_constants(batch)
            layouts[columns.layout_of(constants)] = constants
            _add(pieces, "births", columns.to_sealed(batch, handle, step, len(batches)))
            batches.append([columns.layout_of(constants), batch.num_rows])
        else:
            table = reader.read_all()
            index = table.schema.get_field_index("handle")
            owner = pa.repeat(pa.scalar(handle, pa.string()), table.num_rows)
            _add(pieces, name, table.set_column(index, "handle", owner))
            rows[name] = table.num_rows
    if head["incidents"]:
        _add(pieces, "incidents", _incidents(head["incidents"], handle, step, is_recovery=False))
    record = [[handle], [step], [json.dumps(batches)], [json.dumps(rows)], [canonical_json(head["events"])]]
    record.append([frame.hash.hex()])
    _add(
        pieces, "commits", pa.Table.from_arrays([pa.array(column) for column in record], schema=chunk_schema("commits"))
    )


def _incidents(found: Sequence[Mapping[str, Any]], handle: str, step: int, *, is_recovery: bool) -> pa.Table:
    kinds = [None if incident.get("kind") is None else str(incident["kind"]) for incident in found]
    count = len(found)
    data = [[handle] * count, [step] * count, kinds, [canonical_json(entry) for entry in found], [is_recovery] * count]
    schema = chunk_schema("incidents")
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(data, schema, strict=True)], schema=schema
    )


def commits_of(chunk: Chunk, from_step: int = 0) -> Iterator[Commit]:
    """Returns the commits of a chunk from a step on, in order, as they were given."""
    cursor = dict.fromkeys(SEALED, 0)

    def take(table: str, count: int) -> pa.Table:
        start = cursor[table]
        cursor[table] += count
        return chunk.tables[table].slice(start, count) if table in chunk.tables else chunk_schema(table).empty_table()

    incidents = _incidents_by_step(chunk)
    commits = chunk.tables.get("commits", chunk_schema("commits").empty_table())
    for record in commits.to_pylist():
        if record["step"] < from_step:
            _pass_over(record, cursor)
            continue
        births = [
            columns.from_sealed(take("births", count), chunk.layouts[layout])
            for layout, count in json.loads(record["births"])
        ]
        rows = {name: from_table(name, take(name, count)) for name, count in json.loads(record["rows"]).items()}
        events = tuple(json.loads(record["events"]))
        yield Commit(record["step"], tuple(births), events, rows, tuple(incidents.get(record["step"], ())))


def _pass_over(record: Mapping[str, Any], cursor: dict[str, int]) -> None:
    cursor["births"] += sum(count for _, count in json.loads(record["births"]))
    for name, count in json.loads(record["rows"]).items():
        cursor[name] += count


def _incidents_by_step(chunk: Chunk) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in chunk.tables["incidents"].to_pylist() if "incidents" in chunk.tables else ():
        if not row["is_recovery"]:
            found.setdefault(row["step"], []).append(json.loads(row["detail"]))
    return found
