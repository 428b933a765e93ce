"""The target column: is a class to be told, or a number, and which.

Nouns: *task* ("classification" or "regression").

Shapes: R rows, all with a target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from population.errors import BenchmarkError
from population.inputs.cells import Cells, as_days, as_numbers, as_text, number_text

Task = Literal["classification", "regression"]
#: Whole numbers are names of classes where they are so few, and each stands in so many rows on average.
MAX_NUMBERED_CLASSES = 20
LEAST_ROWS_A_CLASS = 5
MAX_CLASSES = 1000


@dataclass(frozen=True)
class TargetFinding:
    """The target of R rows.

    Attributes:
        values: int64 ``[R]``, places in ``classes``, or float64 ``[R]``. classes: names; empty for a regression.
        why: how the task was told. note: what a person should know.
    """

    column: str
    task: Task
    values: npt.NDArray[Any]
    classes: tuple[str, ...]
    why: str
    note: str = ""


def find_target(column: str, cells: Cells, missing: Collection[str], wish: str = "auto") -> TargetFinding:
    """Returns the task and the target of rows that all have one.

    Raises:
        BenchmarkError: one class only, a class a row, or numbers where there are none; with the remedy.
    """
    numbers, bad = as_numbers(cells, missing)
    if bad.any() and not as_numbers(cells, missing, ",")[1].any():
        numbers, bad = as_numbers(cells, missing, ",")
    if wish == "regression":
        return _regression(column, cells, numbers, bad, "as asked")
    if wish == "classification":
        return _classification(column, cells, numbers, bad, missing, "as asked")
    if bad.any():
        if cells.dtype.kind == "M" or not as_days(cells, missing)[1].any():
            raise BenchmarkError(
                f"target {column!r} holds dates, which nobody learns to tell: choose another column, or make numbers of them"
            )
        return _classification(column, cells, numbers, bad, missing, "its values are text")
    num_distinct = len(np.unique(numbers))
    if num_distinct <= 2:
        return _classification(column, cells, numbers, bad, missing, f"{num_distinct} different values")
    is_few = num_distinct <= MAX_NUMBERED_CLASSES and len(numbers) >= LEAST_ROWS_A_CLASS * num_distinct
    if is_few and (numbers % 1 == 0).all():
        return _classification(column, cells, numbers, bad, missing, f"{num_distinct} different whole numbers")
    return _regression(column, cells, numbers, bad, f"{num_distinct:,} different numbers")


def _regression(
    column: str, cells: Cells, numbers: npt.NDArray[np.float64], bad: npt.NDArray[np.bool_], why: str
) -> TargetFinding:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise BenchmarkError(
            f"target {column!r}: row {row + 1} of those with a target is no number: {str(cells[row])[:80]!r} "
            f"({int(bad.sum())} such rows); correct them, or say data.task=classification"
        )
    if len(np.unique(numbers)) < 2:
        raise BenchmarkError(f"target {column!r} is {numbers[0]:g} in every row: there is nothing to learn")
    return TargetFinding(column, "regression", numbers, (), why)


def _classification(
    column: str,
    cells: Cells,
    numbers: npt.NDArray[np.float64],
    bad: npt.NDArray[np.bool_],
    missing: Collection[str],
    why: str,
) -> TargetFinding:
    texts = as_text(cells, missing) if bad.any() else as_text(numbers, missing)
    counts = Counter(texts.tolist())
    if len(counts) < 2:
        raise BenchmarkError(
            f"target {column!r} is {next(iter(counts))[:80]!r} in every row: a classification needs two classes at least"
        )
    if len(counts) > MAX_CLASSES or 2 * len(counts) > len(texts):
        raise BenchmarkError(
            f"target {column!r} has {len(counts):,} different values in {len(texts):,} rows: too many to be classes; say "
            "data.task=regression if it is a number, or choose another column"
        )
    ordered = sorted(counts) if bad.any() else [number_text(value) for value in np.unique(numbers).tolist()]
    places = {text: place for place, text in enumerate(ordered)}
    values = np.array([places[text] for text in texts.tolist()], dtype=np.int64)
    rare = min(counts, key=lambda text: counts[text])
    note = f"class {rare[:40]!r} stands in {counts[rare]} rows only" if counts[rare] < 10 else ""
    return TargetFinding(column, "classification", values, tuple(ordered), why, note)
