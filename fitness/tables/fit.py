"""What is fitted on training rows: vocabularies, the parts of dates, what fills gaps, means and deviations.

Fitted numbers are rounded to seven digits, so that the last bit of a sum, which another library may add up otherwise, is no
part of a block.

Nouns: *scaling* (fills, means and deviations of the channel ``numbers``).

Shapes: T training rows, C numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fitness.tables.kinds import ColumnFinding
from population.inputs.cells import Floats
from population.inputs.columns import (
    MAX_NUMBER,
    MAX_TEXT,
    BooleanColumn,
    CategoryColumn,
    Column,
    DateColumn,
    NumberColumn,
)
from population.inputs.decoder import CATEGORIES, TOKENS

#: A category must stand in so many training rows, and in this part of them.
LEAST_COUNT = 2
LEAST_SHARE = 1e-4
MAX_VALUES = 1000
#: Columns with more values than this are embedded, those with fewer are marks (one for each value).
MAX_MARKS = 24
#: Farther from zero than this many deviations, float32 would lose what tells numbers apart.
FAR = 1e4
#: Numbers are clipped to these quantiles before mean and deviation are taken, so that an outlier does not hide the rest.
QUANTILES = (0.01, 0.99)
DAYS_OF_A_YEAR = 200


@dataclass(frozen=True)
class Scaling:
    """How the channel ``numbers`` is filled and scaled, ``[C]`` each. gaps: which numbers were missing in training rows."""

    fills: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    gaps: tuple[int, ...] = ()


def fit_column(found: ColumnFinding, train: npt.NDArray[np.int64]) -> Column | None:
    """Returns how a column's cells are read, from its training rows; None where they say nothing."""
    cells = found.cells[train]
    if found.kind == "category":
        return _category(found.name, cells)
    known = cells[~np.isnan(cells)]
    if len(known) == 0 or (len(np.unique(known)) == 1 and len(known) == len(cells)):
        return None
    if found.kind == "boolean":
        return BooleanColumn(found.name, found.gaps)
    if found.kind == "date":
        return DateColumn(found.name, found.order, _date_parts(known), float(np.floor(known.min())), found.gaps)
    offset, unit = _offset_and_unit(known)
    return NumberColumn(found.name, offset, unit, found.decimal, found.gaps)


def fit_scaling(numbers: npt.NDArray[np.float32]) -> Scaling:
    """Returns the scaling of decoded training rows ``[T, C]``, NaN where a number is missing."""
    fills, means, deviations, gaps = [], [], [], []
    for place in range(numbers.shape[1]):
        column = numbers[:, place].astype(np.float64)
        is_missing = np.isnan(column)
        known = column[~is_missing]
        fill = rounded(float(np.median(known))) if len(known) else 0.0
        low, high = _limits(known)
        filled = np.clip(np.where(is_missing, fill, column), low, high)
        deviation = rounded(float(filled.std())) or rounded(float(np.nanstd(column))) if len(known) else 0.0
        fills.append(fill)
        means.append(rounded(float(filled.mean())) if len(known) else 0.0)
        deviations.append(deviation if deviation > 0 else 1.0)
        if is_missing.any():
            gaps.append(place)
    return Scaling(tuple(fills), tuple(means), tuple(deviations), tuple(gaps))


def rounded(value: float) -> float:
    """Returns the number with seven digits."""
    return float(f"{value:.7g}")


def _limits(known: Floats) -> tuple[float, float]:
    low, high = np.quantile(known, QUANTILES).tolist() if len(known) else (0.0, 0.0)
    return low, high


def _offset_and_unit(known: Floats) -> tuple[float, float]:
    largest = float(np.abs(known).max())
    unit = 10.0 ** np.ceil(np.log10(largest) - 30) if largest > MAX_NUMBER * 1e-8 else 1.0
    middle, spread = float(np.median(known)), float(np.ptp(known))
    is_far = spread > 0 and abs(middle) > FAR * spread
    return (rounded(middle) if is_far else 0.0), float(unit)


def _date_parts(days: Floats) -> tuple[str, ...]:
    whole, spread = np.unique(np.floor(days)), float(np.ptp(days))
    parts = ["days"]
    if spread > DAYS_OF_A_YEAR:
        parts.append("year")
    if len(np.unique(days % 1.0)) > 1:
        parts.append("clock")
    if len(np.unique(whole % 7)) > 1:
        parts.append("week")
    return tuple(parts)


def _category(name: str, texts: npt.NDArray[np.object_]) -> CategoryColumn | None:
    counts = Counter(text for text in texts.tolist() if text is not None)
    least = max(LEAST_COUNT, round(LEAST_SHARE * len(texts)))
    often = [text for text, count in counts.items() if count >= least and len(text) <= MAX_TEXT]
    kept = sorted(often, key=lambda text: (-counts[text], text))[:MAX_VALUES]
    is_rare = len(kept) < len(counts)
    is_missing = counts.total() < len(texts)
    num_codes = len(kept) + is_rare + is_missing
    if num_codes < 2:
        return None
    unknown = len(kept) + 1 if is_rare else 0
    missing = len(kept) + is_rare + 1 if is_missing else 0
    channel = CATEGORIES if num_codes <= MAX_MARKS else TOKENS
    return CategoryColumn(name, tuple(sorted(kept)), unknown, missing, channel)
