"""Births as Arrow columns: one record a birth, lists for scores and skills, what is constant once a batch.

Nouns: the *constants* of a batch (its measures, tiers, number of samples, sandbox level, environment), and their *layout*,
the name by which a sealed row refers to them. In a log frame repeated text is dictionary-coded and lists have a fixed
size; in segments the columns are plain, since batches with different measures share one file.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from blake3 import blake3

from population.lineage.format.records import STATUSES, Births, Measure

_PLAIN = ("individual", "coordinate", "weights_digest", "detail")
_CODED = ("operator", "settings", "species", "status", "verdict", "repeat_of")
_LISTS = ("inputs", "parents", "roles")
_NUMBERS: dict[str, Any] = {"event": np.int64, "seed": np.uint64, "generation": np.int64}
_VECTORS: dict[str, Any] = {"flops": np.int64, "scores": np.float64, "skills": np.float64}
_CONSTANTS = b"constants"


def sealed_schema() -> pa.Schema:
    """Returns the schema of the ``births`` table of segments and views."""
    text, integer, number = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [("handle", text), ("step", integer), ("batch", pa.int32()), ("layout", text), ("event", integer)]
        + [("individual", text), ("operator", text), ("seed", pa.uint64()), ("settings", text)]
        + [("inputs", pa.list_(text)), ("parents", pa.list_(text)), ("roles", pa.list_(text)), ("generation", integer)]
        + [
            (name, text)
            for name in ("species", "coordinate", "weights_digest", "status", "verdict", "detail", "repeat_of")
        ]
        + [("flops", pa.list_(integer)), ("scores", pa.list_(number)), ("skills", pa.list_(number))]
    )


def to_batch(births: Births) -> pa.RecordBatch:
    """Returns the batch that a log frame holds, its constants in the schema's metadata. Raises ValueError on bad columns."""
    _check(births)
    arrays: dict[str, pa.Array] = {}
    for name, dtype in _NUMBERS.items():
        arrays[name] = pa.array(_numbers(name, getattr(births, name), dtype))
    for name in _PLAIN + _CODED:
        column = _text(name, getattr(births, name))
        arrays[name] = column.dictionary_encode() if name in _CODED else column
    for name in _LISTS:
        arrays[name] = _lists(name, getattr(births, name), is_coded=name != "parents")
    for name, dtype in _VECTORS.items():
        values = _numbers(name, getattr(births, name), dtype)
        if values.shape[1]:
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    return batch.replace_schema_metadata({_CONSTANTS: constants_of(births)})


def _check(births: Births) -> None:
    """Raises ValueError where columns contradict each other."""
    count = len(births.event)
    if births.flops.shape != (count, len(births.tiers)):
        raise ValueError(f"births: flops have shape {births.flops.shape}, not {(count, len(births.tiers))}")
    if count and not bool(np.all(np.diff(births.event) > 0)):
        raise ValueError("births: event numbers must ascend")
    unknown = set(births.status) - set(STATUSES)
    if unknown:
        raise ValueError(f"births: status {sorted(map(repr, unknown))[0]} is none of {', '.join(STATUSES)}")
    if list(map(len, births.parents)) != list(map(len, births.roles)):
        raise ValueError("births: every parent needs one role")


def _numbers(name: str, values: Any, dtype: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.size and not np.can_cast(array.dtype, dtype, "safe"):
        raise ValueError(f"births: column {name} has dtype {array.dtype}, expected {np.dtype(dtype)}")
    return np.ascontiguousarray(array, dtype=dtype)


def _text(name: str, values: Sequence[str | None]) -> pa.Array:
    try:
        column = pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise ValueError(f"births: column {name} must hold text: {error}") from error
    if column.null_count and name != "weights_digest":
        raise ValueError(f"births: column {name} has a None; only weights_digest may")
    return column


def _lists(name: str, values: Sequence[tuple[str, ...]], *, is_coded: bool) -> pa.Array:
    if str in set(map(type, values)):
        raise ValueError(f"births: column {name} must hold tuples of text, not text")
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, values), dtype=np.int32, count=len(values)), out=offsets[1:])
    flat = _text(name, list(itertools.chain.from_iterable(values)))
    return pa.ListArray.from_arrays(pa.array(offsets), flat.dictionary_encode() if is_coded else flat)


def constants_of(births: Births) -> str:
    """Returns what is constant in a batch as canonical JSON."""
    return _constants(
        births.measures,
        births.skill_measures,
        births.tiers,
        births.num_samples,
        births.sandbox_level,
        births.environment,
    )


@functools.lru_cache(maxsize=256)
def _constants(
    measures: tuple[Measure, ...],
    skills: tuple[Measure, ...],
    tiers: tuple[str, ...],
    samples: int,
    level: str,
    env: str,
) -> str:
    def plain(entries: tuple[Measure, ...]) -> list[list[str]]:
        return [[m.benchmark, m.split, m.tier, m.name] for m in entries]

    value = {"measures": plain(measures), "skill_measures": plain(skills), "tiers": list(tiers)}
    rest = {"num_samples": int(samples), "sandbox_level": level, "environment": env}
    return json.dumps(value | rest, sort_keys=True, separators=(",", ":"))


def layout_of(constants: str) -> str:
    """Returns the layout's name: 16 hex characters of the BLAKE3 of the constants."""
    return blake3(constants.encode()).hexdigest(8)


def batch_constants(batch: pa.RecordBatch) -> str:
    """Returns the constants that a frame's batch carries."""
    text: str = batch.schema.metadata[_CONSTANTS].decode()
    return text


def to_sealed(batch: pa.RecordBatch, handle: str, step: int, number: int) -> pa.Table:
    """Returns a frame's batch as rows of the ``births`` table: plain text, lists of any size, layout and step beside."""
    count = batch.num_rows
    schema = sealed_schema()
    layout = layout_of(batch_constants(batch))
    fixed = {"handle": handle, "step": step, "batch": number, "layout": layout}
    arrays = []
    for column in schema:
        if column.name in fixed:
            arrays.append(pa.repeat(pa.scalar(fixed[column.name], column.type), count))
        elif column.name not in batch.schema.names:
            arrays.append(
                pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], column.type.value_type))
            )
        else:
            arrays.append(_plain(batch.column(column.name), column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type):
        offsets = np.arange(len(column) + 1, dtype=np.int32) * column.type.list_size
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), column.values)
    if pa.types.is_list(column.type) and column.type != wanted:
        return pa.ListArray.from_arrays(column.offsets, column.values.cast(wanted.value_type))
    return column.cast(wanted) if column.type != wanted else column


def from_sealed(rows: pa.Table, constants: str) -> Births:
    """Returns the batch whose rows these are: exactly what ``to_batch`` was given."""
    value: Mapping[str, Any] = json.loads(constants)
    columns: dict[str, Any] = {}
    for name in _NUMBERS:
        columns[name] = rows[name].to_numpy().copy()
    for name in _PLAIN + _CODED:
        columns[name] = tuple(rows[name].to_pylist())
    for name in _LISTS:
        columns[name] = tuple(map(tuple, rows[name].to_pylist()))
    widths = {"flops": len(value["tiers"]), "scores": len(value["measures"]), "skills": len(value["skill_measures"])}
    for name, dtype in _VECTORS.items():
        flat = rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        columns[name] = np.array(flat, dtype=dtype).reshape(rows.num_rows, widths[name])
    return Births(
        measures=tuple(Measure(*entry) for entry in value["measures"]),
        skill_measures=tuple(Measure(*entry) for entry in value["skill_measures"]),
        tiers=tuple(value["tiers"]),
        num_samples=value["num_samples"],
        sandbox_level=value["sandbox_level"],
        environment=value["environment"],
        **columns,
    )
