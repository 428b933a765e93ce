"""Cells of a table's column as numbers, days, truths and text: read in one way by whoever fits a decoder and whoever runs one.

Cells are an array of N: float64 (NaN: missing), datetime64 (NaT: missing), or objects that are text or None (missing). Text
is taken without the blanks around it; some words stand for a missing value.

Nouns: *cells* (one column's raw values), *refused* cells (neither missing nor what was asked for).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from population.errors import InputError

Cells = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
DateOrder = Literal["ymd", "dmy", "mdy"]

#: Words that stand for a missing value, unless a table says otherwise.
MISSING: Final = ("", "#N/A", "?", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
TRUTHS: Final = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0}
#: Beyond it a whole number has no float64 of its own: such numbers are text, that is, names of things.
MAX_WHOLE: Final = 2**53

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_MAX_DIGITS: Final = 400
#: What a number in the usual writing is made of; whatever else is made of it, `float` refuses.
_PLAIN: Final = frozenset("0123456789+-.eE ")
_CLOCK: Final = r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,9})?)?\s*(Z|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})" + _CLOCK, re.ASCII)
_YEAR_LAST: Final = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})" + _CLOCK, re.ASCII)
_EPOCH: Final = date(1970, 1, 1).toordinal()


def cells_of(values: Any, name: str = "") -> Cells:
    """The cells of a list of Python values (None, numbers, truths, text, dates), of an array or of a column of a data frame.

    Raises: InputError for a value that is none of these.
    """
    array = np.asarray(values) if hasattr(values, "dtype") else None
    if array is not None and array.dtype.kind in "fM":
        return array.astype("datetime64[us]" if array.dtype.kind == "M" else np.float64)
    listed: list[Any] = list(values) if array is None else array.tolist()
    listed = [None if value is None or str(value) in ("<NA>", "NaT", "nan") else value for value in listed]
    plain = [value for value in listed if value is not None]
    whole = all(-MAX_WHOLE <= value <= MAX_WHOLE for value in plain if isinstance(value, int))
    if plain and {type(value) for value in plain} <= {int, float} and whole:
        return np.array([math.nan if value is None else float(value) for value in listed], dtype=np.float64)
    return _objects([None if value is None else _word(value, name) for value in listed])


def _objects(values: Sequence[str | None]) -> Cells:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _word(value: object, name: str) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.integer | np.floating):
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond float64: text, as all beyond MAX_WHOLE
            return str(value)
        return None if math.isnan(number) else number_text(number) if abs(number) <= MAX_WHOLE else str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise InputError(f"column {name!r}: expected text, numbers, true, false or null, got {value!r}"[:300])


def number_text(value: float) -> str:
    """A number as it is written shortest, whole numbers without a point: a category 3 is the same from any file."""
    return str(int(value)) if value.is_integer() and abs(value) <= MAX_WHOLE else repr(value)


def as_text(cells: Cells, missing: Collection[str]) -> Cells:
    """Each cell as text without blanks around it, None where it is missing; ``[N]`` objects."""
    if cells.dtype.kind == "f":
        return _objects([None if value != value else number_text(value) for value in cells.tolist()])
    if cells.dtype.kind == "M":
        texts = np.datetime_as_string(cells.astype("datetime64[us]"))
        return _objects([None if text == "NaT" else str(text) for text in texts])
    words: dict[str | None, str | None] = {None: None}
    for cell in cells.tolist():
        if cell not in words:
            text = cell.strip()
            words[cell] = None if text in missing else text
    return _objects([words[cell] for cell in cells.tolist()])


def as_numbers(cells: Cells, missing: Collection[str], decimal: str = ".") -> tuple[Floats, Flags]:
    """Each cell as a number, NaN where it is missing or refused; and which are refused. Infinite ones are refused."""
    if cells.dtype.kind == "f":
        return np.where(np.isinf(cells), np.nan, cells), np.isinf(cells)
    plain = _plain_numbers(cells, missing) if decimal == "." else None
    if plain is not None:
        return plain, np.zeros(len(cells), dtype=np.bool_)
    return _read(cells, missing, lambda text: _number(text, decimal))


def _plain_numbers(cells: Cells, missing: Collection[str]) -> Floats | None:
    """The same numbers far faster, where all cells are missing or in the usual writing; None where some are not."""
    listed = cells.tolist()
    is_there = [cell is not None and cell not in missing for cell in listed]
    texts = [cell for cell, there in zip(listed, is_there, strict=True) if there]
    if not set("".join(texts)) <= _PLAIN or max(map(len, texts), default=0) > _MAX_DIGITS:
        return None
    try:
        found = np.array(list(map(float, texts)), dtype=np.float64)
    except ValueError:
        return None
    values = np.full(len(listed), np.nan)
    values[np.array(is_there, dtype=np.bool_)] = found
    return None if np.isinf(found).any() else values


def _number(text: str, decimal: str) -> float | None:
    if decimal == ",":
        text = text.replace(",", ".") if text.count(",") <= 1 and "." not in text else ""
    found = float(text) if len(text) <= _MAX_DIGITS and _NUMBER.fullmatch(text) else None
    return found if found is not None and math.isfinite(found) else None


def as_truths(cells: Cells, missing: Collection[str]) -> tuple[Floats, Flags]:
    """Each cell as 1 or 0 (true, false, yes, no and their first letters, in any case), NaN where missing or refused."""
    if cells.dtype.kind == "f":
        bad = ~(np.isnan(cells) | (cells == 0) | (cells == 1))
        return np.where(bad, np.nan, cells), bad
    return _read(cells, missing, lambda text: TRUTHS.get(text.lower(), {"1": 1.0, "0": 0.0}.get(text)))


def as_days(cells: Cells, missing: Collection[str], order: DateOrder = "ymd") -> tuple[Floats, Flags]:
    """Each cell as days since 1970-01-01 UTC with their fractions, NaN where it is missing or refused.

    Text is a date with ``-``, ``/`` or ``.`` between its parts, a time and an offset from UTC behind it if there is one.
    """
    if cells.dtype.kind == "M":
        ticks = cells.astype("datetime64[us]")
        days = ticks.astype(np.int64).astype(np.float64) / 86_400e6
        return np.where(np.isnat(ticks), np.nan, days), np.zeros(len(cells), dtype=np.bool_)
    if cells.dtype.kind == "f":
        return np.full(len(cells), np.nan), ~np.isnan(cells)
    return _read(cells, missing, lambda text: _days(text, order))


def _days(text: str, order: DateOrder) -> float | None:
    found = (_YEAR_FIRST if order == "ymd" else _YEAR_LAST).fullmatch(text)
    if found is None:
        return None
    first, second, third = (int(part) for part in found.group(1, 2, 3))
    year, month, day = {"ymd": (first, second, third), "dmy": (third, second, first), "mdy": (third, first, second)}[
        order
    ]
    hour, minute, second_text, fraction, offset = found.group(4, 5, 6, 7, 8)
    seconds = int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second_text or 0) + float(fraction or 0)
    if not (1 <= month <= 12 and 1 <= day <= 31 and seconds < 86_401 and int(minute or 0) < 60 and year > 0):
        return None
    try:
        ordinal = date(year, month, day).toordinal()
    except ValueError:
        return None
    return ordinal - _EPOCH + (seconds - _offset_seconds(offset)) / 86_400


def _offset_seconds(text: str | None) -> int:
    if not text or text == "Z":
        return 0
    return (-1 if text[0] == "-" else 1) * (int(text[1:3]) * 3600 + int(text[-2:]) * 60)


def day_text(days: float) -> str:
    """A number of days since 1970-01-01 as a date, with the time where it has one."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return moment.strftime("%Y-%m-%d" if days == math.floor(days) else "%Y-%m-%d %H:%M")


def _read(cells: Cells, missing: Collection[str], read: Callable[[str], float | None]) -> tuple[Floats, Flags]:
    """The numbers that ``read`` gives for texts, each different text read once."""
    known: dict[str | None, float] = {None: math.nan}
    refused: set[str] = set()
    listed = cells.tolist()
    for cell in listed:
        if cell not in known:
            text = cell.strip()
            found = None if text in missing else read(text)
            known[cell] = math.nan if found is None else found
            if found is None and text not in missing:
                refused.add(cell)
    values = np.array([known[cell] for cell in listed], dtype=np.float64)
    bad = np.array([cell in refused for cell in listed] if refused else np.zeros(len(listed)), dtype=np.bool_)
    return values, bad
