"""From a raw table to arrays: what columns hold, the task, the split, and what is fitted on training rows alone.

A row's split follows from the values of its columns, the target and dropped columns left aside, so that equal rows fall on
one side. Then vocabularies, fills, means and deviations are fitted on the training rows.

Nouns: *preparation* (the decoder and the scaling that were fitted, and what a person should know), *settings*.

Shapes: R rows with a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from fitness.measures.metrics import Kind
from fitness.measures.splits import DEFAULT_SHARES, KEY_BYTES, split_of_rows
from fitness.measures.targets import Target
from fitness.tables.fit import Scaling, fit_column, fit_scaling, rounded
from fitness.tables.kinds import ColumnFinding, find_kind
from fitness.tables.leaks import leak_of, separates
from fitness.tables.target import TargetFinding, find_target
from population.errors import BenchmarkError
from population.graphs.nodes import suggest
from population.inputs.cells import MISSING, Cells, as_text
from population.inputs.columns import Column
from population.inputs.decoder import NUMBERS, Answer, Decoder
from population.inputs.table_files import RawTable

#: Fewer rows than this cannot be split in three and leave something to learn from.
LEAST_ROWS = 20
CHANNELS = {"classification": "logits", "regression": "prediction"}


@dataclass(frozen=True)
class TableSettings:
    """How a table is read.

    Attributes:
        target: the column to tell. task: "auto", "classification" or "regression".
        columns: kinds by name, where what was found is not what was meant: see ``fitness.tables.kinds.WISHES``.
        missing: words that stand for a missing value. class_weights: "none", or "balanced".
    """

    target: str
    task: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = MISSING
    class_weights: str = "none"
    objectives: Sequence[str] | None = None
    split_seed: int = 0
    shares: tuple[float, float, float] = DEFAULT_SHARES


@dataclass(frozen=True)
class Preparation:
    """How a table's raw rows become inputs, and what was found on the way.

    Attributes:
        decoder: what the block applies to raw rows. scaling: of its channel ``numbers``.
        target: its task and classes; mean, deviation: of a regression's training targets.
        report: what a person should know, as plain values.
    """

    decoder: Decoder
    scaling: Scaling
    task: str
    classes: tuple[str, ...]
    mean: float
    deviation: float
    report: Mapping[str, Any]

    @property
    def output(self) -> str:
        """The output channel that answers."""
        return CHANNELS[self.task]


@dataclass(frozen=True)
class PreparedTable:
    """What ``Benchmark.of_table`` makes a benchmark of.

    Attributes:
        inputs: channel name -> ``[R, *shape]``. target: what the output channel should have said.
        keys: bytes ``[R, 32]`` that rows are split by. preparation: how the inputs were made.
    """

    inputs: Mapping[str, npt.NDArray[Any]]
    target: Target
    keys: npt.NDArray[np.uint8]
    preparation: Preparation


def prepare_table(table: RawTable, settings: TableSettings) -> PreparedTable:
    """Returns the columns of a raw table as input channels, and what was found on the way.

    Raises:
        BenchmarkError: it cannot be learned from: what is missing or wrong is named, with the remedy.
    """
    columns, target, num_untold = _with_target(table, settings)
    notes = [f"{num_untold:,} rows have no target: left out"] if num_untold else []
    notes += [target.note] if target.note else []
    found = _findings(columns, table, settings)
    found, leaks = _without_leaks(found, target, settings)
    notes += leaks
    used = [finding for finding in found if finding.kind != "dropped"]
    keys = _row_keys(_required(used, found, settings), len(target.values))
    train = split_of_rows((key.tobytes() for key in keys), settings.split_seed, settings.shares)["train"]
    _check_train(target, train, settings)
    fitted = {finding.name: fit_column(finding, train) for finding in used}
    found = [_blank(finding, train) if finding.name in fitted and fitted[finding.name] is None else finding
             for finding in found]  # fmt: skip
    kept = [column for column in fitted.values() if column is not None]
    _required(kept, found, settings)
    answer = Answer(CHANNELS[target.task], target.column, "classes" if target.classes else "number", target.classes)
    decoder = Decoder(tuple(kept), (answer,), tuple(sorted(set(settings.missing))))
    inputs = decoder.decode(columns)
    scaling = fit_scaling(inputs[NUMBERS][train]) if NUMBERS in inputs else Scaling()
    numbers = target.values[train].astype(np.float64)
    mean, deviation = (rounded(float(numbers.mean())), rounded(float(numbers.std())) or 1.0)
    report = _report(table, target, found, notes, len(target.values), settings)
    made = Preparation(decoder, scaling, target.task, target.classes, mean, deviation, report)
    kind: Kind = "classes" if target.classes else "numbers"
    weights: Any = "balanced" if settings.class_weights == "balanced" and target.classes else ()
    told = Target(CHANNELS[target.task], kind, target.values, target.classes, class_weights=weights)
    return PreparedTable(inputs, told, keys, made)


def _with_target(table: RawTable, settings: TableSettings) -> tuple[dict[str, Cells], TargetFinding, int]:
    """Returns the columns and the target of the rows that have one, and how many have none."""
    name = settings.target
    if name not in table.columns:
        unreadable = f"; its type is {table.unreadable[name]}" if name in table.unreadable else ""
        raise BenchmarkError(
            f"data.target: there is no column {name!r}{unreadable or suggest(name, table.columns)}"
            " (does the file begin with a line of names?)"
        )
    missing = frozenset(settings.missing)
    has_target = np.array([text is not None for text in as_text(table.columns[name], missing).tolist()], dtype=np.bool_)
    count = int(has_target.sum())
    if count < LEAST_ROWS:
        raise BenchmarkError(
            f"the table has {count} rows with a value in {name!r} (of {table.num_rows}); at least {LEAST_ROWS} are needed "
            "to learn, to select and to check"
        )
    columns = {key: cells[has_target] for key, cells in table.columns.items()}
    return columns, find_target(name, columns[name], missing, settings.task), table.num_rows - count


def _findings(columns: Mapping[str, Cells], table: RawTable, settings: TableSettings) -> list[ColumnFinding]:
    for name in settings.columns:
        if name not in columns and name not in table.unreadable:
            raise BenchmarkError(f"data.columns.{name}: there is no such column{suggest(name, columns)}")
    if settings.columns.get(settings.target, "drop") != "drop":
        raise BenchmarkError(f"data.columns.{settings.target}: it is the target; say data.task for what it holds")
    missing = frozenset(settings.missing)
    found = [find_kind(name, cells, missing, settings.columns.get(name))
             for name, cells in columns.items() if name != settings.target]  # fmt: skip
    no_cells: Cells = np.empty(0, dtype=object)
    return found + [
        ColumnFinding(name, "dropped", no_cells, f"of type {kind}, which is no cell")
        for name, kind in table.unreadable.items()
    ]


def _without_leaks(
    found: Sequence[ColumnFinding], target: TargetFinding, settings: TableSettings
) -> tuple[list[ColumnFinding], list[str]]:
    """Returns the findings with columns dropped that give the target away, and what to tell."""
    notes, kept = [], []
    for finding in found:
        leak = leak_of(finding, target) if finding.kind != "dropped" else ""
        if leak and finding.name in settings.columns:
            notes.append(f"column {finding.name!r} {leak}: kept, as asked in data.columns")
        elif leak:
            keep = f"data.columns.{finding.name}={finding.kind} keeps it"
            notes.append(f"column {finding.name!r} {leak}: left out, since it would not be known of new rows ({keep})")
            finding = replace(finding, kind="dropped", note=f"{leak} (a leak)")
        elif separates(finding, target):
            notes.append(
                f"column {finding.name!r} alone tells the classes apart without a mistake: kept; if it is not known of new "
                f"rows, say data.columns.{finding.name}=drop"
            )
        kept.append(finding)
    return kept, notes


def _required(used: Sequence[Any], found: Sequence[ColumnFinding], settings: TableSettings) -> Sequence[Any]:
    if not used:
        reasons = "; ".join(f"{finding.name}: {finding.note}" for finding in found[:5]) or "there is no other column"
        raise BenchmarkError(
            f"nothing is left to tell {settings.target!r} from: {reasons}; data.columns.NAME=KIND keeps a column"
        )
    return used


def _row_keys(used: Sequence[ColumnFinding], num_rows: int) -> npt.NDArray[np.uint8]:
    """Returns 32 bytes a row that follow from its values alone, whatever the order of columns, ``[R, 32]``."""
    words = np.empty((num_rows, len(used)), dtype="<u8")
    for place, finding in enumerate(sorted(used, key=lambda item: item.name)):
        if finding.cells.dtype.kind == "O":
            texts = {t: 0 if t is None else int.from_bytes(blake3(t.encode()).digest(8)) for t in set(finding.cells)}
            words[:, place] = [texts[text] for text in finding.cells.tolist()]
        else:
            values = np.where(np.isnan(finding.cells), np.nan, finding.cells + 0.0).astype("<f8")
            words[:, place] = values.view("<u8")
    digests = b"".join(blake3(row.tobytes()).digest() for row in words)
    return np.frombuffer(digests, dtype=np.uint8).reshape(num_rows, KEY_BYTES)


def _check_train(target: TargetFinding, train: npt.NDArray[np.int64], settings: TableSettings) -> None:
    different = len(np.unique(target.values[train])) if len(train) else 0
    if different < 2:
        raise BenchmarkError(
            f"the {len(train)} training rows hold {different} different values of {target.column!r}: too few different rows; "
            "give more, or another benchmark.split_seed"
        )


def _blank(finding: ColumnFinding, train: npt.NDArray[np.int64]) -> ColumnFinding:
    why = "fewer than two values stand twice" if finding.kind == "category" else "one value only"
    return replace(finding, kind="dropped", note=f"{why} in the {len(train):,} training rows")


def _report(
    table: RawTable,
    target: TargetFinding,
    found: Sequence[ColumnFinding],
    notes: Sequence[str],
    num_rows: int,
    settings: TableSettings,
) -> dict[str, Any]:
    """Returns what was found as plain values."""
    counts = np.bincount(target.values, minlength=len(target.classes)).tolist() if target.classes else []
    values = target.values
    told: dict[str, Any] = {"column": target.column, "task": target.task, "why": target.why}
    if target.classes:
        told["classes"] = dict(zip(target.classes, counts, strict=True))
    else:
        told |= {"least": float(values.min()), "mean": rounded(float(values.mean())), "most": float(values.max())}
    return {
        "rows": table.num_rows,
        "rows_used": num_rows,
        "target": told,
        "columns": [
            {"name": f.name, "kind": f.kind, "missing": f.num_missing, "distinct": f.num_distinct, "note": f.note}
            for f in found
        ],
        "notes": list(notes),
    }


__all__ = ["Column", "Preparation", "PreparedTable", "TableSettings", "prepare_table"]
