"""Columns that give the target away: what a block would learn from them is of no use where the target is not known yet.

Nouns: *leak* (a column that equals or determines the target).

Shapes: R rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.tables.kinds import ColumnFinding
from fitness.tables.target import TargetFinding

#: With fewer rows a column may determine the target by chance.
LEAST_ROWS = 20
#: A part of the target's variance that nothing measured leaves unexplained.
EXACT = 1e-9


def leak_of(found: ColumnFinding, target: TargetFinding) -> str:
    """Returns in what way a column equals or determines the target, so that it is left out; "" where it does not."""
    values, codes = _codes(found.cells), _codes(target.values)
    num_rows, num_values, num_targets = len(codes), int(values.max()) + 1, int(codes.max()) + 1
    if num_rows < LEAST_ROWS or num_values < 2:
        return ""
    num_pairs = len(np.unique(values * np.int64(num_targets) + codes))
    if num_pairs == num_values == num_targets and 2 * num_values <= num_rows:
        return "is the target under another name"
    if num_pairs == num_values and 2 * num_values <= num_rows:
        return "determines the target: each of its values goes with one target only"
    if target.task == "regression" and found.kind == "number":
        return _function_of(found.cells, target.values)
    return ""


def separates(found: ColumnFinding, target: TargetFinding) -> bool:
    """Returns whether a threshold on a column of numbers tells two classes apart without one mistake."""
    if found.kind not in ("number", "date") or len(target.classes) != 2 or len(target.values) < LEAST_ROWS:
        return False
    known = ~np.isnan(found.cells)
    first, second = found.cells[known & (target.values == 0)], found.cells[known & (target.values == 1)]
    if min(len(first), len(second)) < 5 or known.mean() < 0.9:
        return False
    return bool(first.max() < second.min() or second.max() < first.min())


def _function_of(cells: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
    known = ~np.isnan(cells)
    x, y = cells[known], values[known]
    if len(x) < LEAST_ROWS or known.mean() < 0.5 or len(np.unique(x)) < 3:
        return ""
    if np.array_equal(x, y):
        return "is the target under another name"
    for first, second in ((x, y), (_codes(x).astype(np.float64), _codes(y).astype(np.float64))):
        if _unexplained(first, second) < EXACT:
            return "determines the target: it is a function of it"
    return ""


def _unexplained(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Returns the part of y's variance that a line over x leaves."""
    with np.errstate(all="ignore"):
        a, b = (x - x.mean()) / (x.std() or 1.0), (y - y.mean()) / (y.std() or 1.0)
        found = 1.0 - float((a * b).mean()) ** 2
    return found if np.isfinite(found) else 1.0


def _codes(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Returns for each value the place of it among the different ones; a missing one is a value like any other."""
    if values.dtype.kind == "O":
        values = np.array(["\0" if value is None else value for value in values.tolist()])
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
