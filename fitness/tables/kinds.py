"""What each column of a table holds, told from all of its cells, the target left aside.

Nouns: *kind* (number, boolean, date, category, or dropped), *finding* (a column's kind, why, and its cells in that kind's
form), *wish* (a kind that somebody asked for).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

from population.errors import BenchmarkError
from population.inputs.cells import TRUTHS, Cells, DateOrder, Flags, as_days, as_numbers, as_text, as_truths

Kind = Literal["number", "boolean", "date", "category", "dropped"]
WISHES = ("number", "boolean", "date", "date-dmy", "date-mdy", "category", "drop")
#: Up to this part of a column's cells may be words in a column of numbers or dates: they then stand for a missing value.
MAX_STRAY = 0.05
MAX_GAPS = 20
#: From so many rows on, a column of which nearly every value is another one names rows, and says nothing about new ones.
LEAST_ROWS_OF_AN_IDENTIFIER = 20
DISTINCT_SHARE = 0.95
_NAMES_AN_IDENTIFIER = re.compile(r"(.*[_ ])?(id|uuid|guid|index|key)|.*Id|.*ID|unnamed \d+|__index_level_\d+__")


@dataclass(frozen=True)
class ColumnFinding:
    """What a column holds. cells: in the kind's own form (float64 for numbers and truths, days for dates, text); note: what
    a person should know; gaps, decimal, order: as the decoder's columns have them."""

    name: str
    kind: Kind
    cells: Cells
    note: str = ""
    gaps: tuple[str, ...] = ()
    decimal: str = "."
    order: DateOrder = "ymd"
    num_missing: int = 0
    num_distinct: int = 0


def find_kind(name: str, cells: Cells, missing: Collection[str], wish: str | None = None) -> ColumnFinding:
    """Returns what a column holds, or what a person wished it to be taken for.

    Raises:
        BenchmarkError: the cells cannot be taken for what was wished; the first that cannot is named.
    """
    if wish == "drop":
        return _dropped(name, cells, "as asked")
    if wish is not None:
        return _as_wished(name, cells, missing, wish)
    if cells.dtype.kind == "f":
        return _number(name, cells)
    if cells.dtype.kind == "M":
        days, _ = as_days(cells, missing)
        return _counted(ColumnFinding(name, "date", days))
    texts = as_text(cells, missing)
    counts = Counter(text for text in texts.tolist() if text is not None)
    if not counts:
        return _dropped(name, cells, "holds no value")
    if len(counts) == 1 and counts.total() == len(cells):
        return _dropped(name, cells, f"holds one value only, {next(iter(counts))[:40]!r}")
    if len(counts) > 1 and all(text.lower() in TRUTHS for text in counts):
        return _counted(ColumnFinding(name, "boolean", as_truths(cells, missing)[0]))
    return _number_or_date(name, cells, counts, missing) or _category(name, texts, counts)


def _number_or_date(name: str, cells: Cells, counts: Counter[str], missing: Collection[str]) -> ColumnFinding | None:
    for decimal in (".", ","):
        values, bad = as_numbers(cells, missing, decimal)
        gaps = _gaps(cells, bad, counts)
        if gaps is not None:
            note = _told_gaps(gaps, cells, "numbers") + ("; decimal comma" if decimal == "," else "")
            found = _number(name, values, note.strip("; "))
            return found if found.kind == "dropped" else _with(found, gaps=gaps, decimal=decimal)
    orders: list[DateOrder] = ["ymd", "dmy", "mdy"]
    fits = [(order, values, gaps) for order in orders for values, bad in [as_days(cells, missing, order)]
            if (gaps := _gaps(cells, bad, counts)) is not None]  # fmt: skip
    if not fits:
        return None
    order, days, gaps = min(fits, key=lambda fit: len(fit[2]))
    note = _told_gaps(gaps, cells, "dates")
    if len([fit for fit in fits if len(fit[2]) == len(gaps)]) > 1:
        note = f"{note}; day before month or month before day: taken as day first (say date-mdy if not)".strip("; ")
    return _counted(ColumnFinding(name, "date", days, note, gaps, order=order))


def _gaps(cells: Cells, bad: Flags, counts: Counter[str]) -> tuple[str, ...] | None:
    """Returns the words that are neither numbers nor dates, where they are few; None where they are not."""
    if not bad.any():
        return ()
    words = Counter(cell.strip() for cell in cells[bad].tolist())
    is_few = words.total() <= MAX_STRAY * counts.total() and len(words) <= MAX_GAPS
    return tuple(sorted(words)) if is_few and max(map(len, words)) <= 100 else None


def _told_gaps(gaps: tuple[str, ...], cells: Cells, what: str) -> str:
    if not gaps:
        return ""
    row = next(place for place, cell in enumerate(cells.tolist(), 1) if cell is not None and cell.strip() in gaps)
    shown = ", ".join(map(repr, gaps[:3])) + (" ..." if len(gaps) > 3 else "")
    return f"{shown} among {what} (row {row}): taken as missing"


def _number(name: str, values: Cells, note: str = "") -> ColumnFinding:
    values = np.where(np.isinf(values), np.nan, values)
    found = _counted(ColumnFinding(name, "number", values, note))
    known = len(values) - found.num_missing
    if not known:
        return _dropped(name, values, "holds no value")
    if found.num_distinct == 1 and not found.num_missing:
        return _dropped(name, values, f"holds one value only, {values[0]:g}")
    if found.num_distinct == known == len(values) >= LEAST_ROWS_OF_AN_IDENTIFIER and (values % 1 == 0).all():
        if values.max() - values.min() == len(values) - 1:
            return _dropped(name, values, "numbers the rows: an identifier")
        if _NAMES_AN_IDENTIFIER.fullmatch(name):
            return _dropped(name, values, "every value differs, and its name is one of an identifier")
    return found


def _category(name: str, texts: Cells, counts: Counter[str]) -> ColumnFinding:
    total = counts.total()
    if total >= LEAST_ROWS_OF_AN_IDENTIFIER and len(counts) >= DISTINCT_SHARE * total:
        return _dropped(name, texts, f"{len(counts):,} different texts in {total:,} rows: an identifier, or free text")
    numbers = as_numbers(texts, ())[1]
    share = 1 - float(numbers.sum()) / total
    note = f"{share:.0%} numbers, the rest text: taken as categories" if share > 0 else ""
    return ColumnFinding(name, "category", texts, note, num_missing=len(texts) - total, num_distinct=len(counts))


def _as_wished(name: str, cells: Cells, missing: Collection[str], wish: str) -> ColumnFinding:
    if wish not in WISHES:
        raise BenchmarkError(f"data.columns.{name}: expected one of {', '.join(WISHES)}, got {wish!r}")
    if wish == "category":
        texts = as_text(cells, missing)
        known = [text for text in texts.tolist() if text is not None]
        return ColumnFinding(name, "category", texts, num_missing=len(texts) - len(known), num_distinct=len(set(known)))
    order: DateOrder = "dmy" if wish == "date-dmy" else "mdy" if wish == "date-mdy" else "ymd"
    if wish == "number":
        kind, (values, bad) = "number", as_numbers(cells, missing)
    elif wish == "boolean":
        kind, (values, bad) = "boolean", as_truths(cells, missing)
    else:
        kind, (values, bad) = "date", as_days(cells, missing, order)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise BenchmarkError(
            f"data.columns.{name}: row {row + 1} is no {wish}: {str(cells[row])[:80]!r} ({int(bad.sum())} such cells); "
            f"leave data.columns.{name} out, or empty such cells"
        )
    return _counted(ColumnFinding(name, kind, values, "as asked", order=order))  # type: ignore[arg-type]


def _counted(found: ColumnFinding) -> ColumnFinding:
    known = found.cells[~np.isnan(found.cells)]
    counted = _with(found, num_missing=len(found.cells) - len(known), num_distinct=len(np.unique(known)))
    if counted.kind != "number" and len(known) == 0:
        return _dropped(found.name, found.cells, "holds no value")
    if counted.kind == "date" and counted.num_distinct == 1 and not counted.num_missing:
        return _dropped(found.name, found.cells, "holds one value only")
    return counted


def _with(found: ColumnFinding, **changes: object) -> ColumnFinding:
    from dataclasses import replace

    return replace(found, **changes)  # type: ignore[arg-type]


def _dropped(name: str, cells: Cells, why: str) -> ColumnFinding:
    return ColumnFinding(name, "dropped", cells, why)
