"""How the cells of one column of a table are read: as a number, a truth, a date or a category.

Each kind is a frozen record of plain values, fitted on training rows, with one pure function from cells to numbers and codes.

Shapes: N rows; a column gives numbers ``[N, num_numbers]`` float64 (NaN: missing) and codes ``[N, num_codes]`` int64.

Nouns: *number*, *boolean*, *date* and *category* columns; *part* (what a date gives), *gaps* (words of one column that stand
for a missing value there).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from population.errors import InputError
from population.inputs.cells import Cells, DateOrder, Flags, Floats, as_days, as_numbers, as_text, as_truths

MAX_TEXT: Final = 1000
#: What a date can give. days: since ``origin``. year, clock: the place in the year and in the day, as sine and cosine. week:
#: the day of the week, a code, Monday being 1.
DATE_PARTS: Final = ("days", "year", "clock", "week")
YEAR_DAYS: Final = 365.2425
MAX_NUMBER: Final = float(np.finfo(np.float32).max)

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NumberColumn:
    """``(x - offset) / unit`` of a number; both keep what float32 would lose of numbers far from zero.

    decimal: "." or ",".
    """

    kind: ClassVar = "number"
    channel: ClassVar = "categories"
    num_numbers: ClassVar = 1
    num_codes: ClassVar = 0
    code_size: ClassVar = 0
    name: str
    offset: float = 0.0
    unit: float = 1.0
    decimal: str = "."
    gaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.name, self.gaps)
        if not (math.isfinite(self.offset) and 0 < self.unit < math.inf and self.decimal in ".,"):
            raise InputError(
                f"column {self.name!r}: expected a finite offset, a unit above 0, and '.' or ',' as decimal"
            )

    def read(self, cells: Cells, missing: Collection[str]) -> tuple[Floats, Codes]:
        """The number of each cell. Raises: InputError naming the row of a cell that is none, or beyond float32."""
        values, bad = as_numbers(cells, {*missing, *self.gaps}, self.decimal)
        with np.errstate(over="ignore"):
            moved = (values - self.offset) / self.unit
        _refuse(self.name, cells, bad | (np.abs(moved) > MAX_NUMBER), "a number (within float32)")
        return moved[:, None], _no_codes(cells)


@dataclass(frozen=True)
class BooleanColumn:
    """1 for true, 0 for false."""

    kind: ClassVar = "boolean"
    channel: ClassVar = "categories"
    num_numbers: ClassVar = 1
    num_codes: ClassVar = 0
    code_size: ClassVar = 0
    name: str
    gaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.name, self.gaps)

    def read(self, cells: Cells, missing: Collection[str]) -> tuple[Floats, Codes]:
        """1 or 0 for each cell. Raises: InputError naming the row of a cell that is neither true nor false."""
        values, bad = as_truths(cells, {*missing, *self.gaps})
        _refuse(self.name, cells, bad, "true or false")
        return values[:, None], _no_codes(cells)


@dataclass(frozen=True)
class DateColumn:
    """The parts of a date. order: of day, month and year in text. origin: days since 1970 that ``days`` counts from."""

    kind: ClassVar = "date"
    channel: ClassVar = "categories"
    name: str
    order: DateOrder = "ymd"
    parts: tuple[str, ...] = ("days",)
    origin: float = 0.0
    gaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.name, self.gaps)
        known = [part for part in DATE_PARTS if part in self.parts]
        if self.order not in ("ymd", "dmy", "mdy") or not known or tuple(known) != self.parts:
            raise InputError(f"column {self.name!r}: expected an order and parts out of {', '.join(DATE_PARTS)}")

    @property
    def num_numbers(self) -> int:
        """How many numbers it gives."""
        return sum({"days": 1, "week": 0}.get(part, 2) for part in self.parts)

    @property
    def num_codes(self) -> int:
        """1 where it gives the day of the week."""
        return int("week" in self.parts)

    @property
    def code_size(self) -> int:
        """The largest code."""
        return 7 * self.num_codes

    def read(self, cells: Cells, missing: Collection[str]) -> tuple[Floats, Codes]:
        """The parts of each cell. Raises: InputError naming the row of a cell that is no date in this order."""
        days, bad = as_days(cells, {*missing, *self.gaps}, self.order)
        _refuse(self.name, cells, bad, f"a date ({self.order})")
        numbers = [days - self.origin] if "days" in self.parts else []
        numbers += [wave for part, length in (("year", YEAR_DAYS), ("clock", 1.0)) if part in self.parts
                    for wave in _waves(days, length)]  # fmt: skip
        weekday = np.where(np.isnan(days), 0, (np.floor(np.nan_to_num(days)) + 3) % 7 + 1)  # 1970-01-01 was a Thursday
        codes = weekday.astype(np.int64)[:, None] if self.num_codes else _no_codes(cells)
        return np.stack(numbers, axis=1) if numbers else np.zeros((len(cells), 0)), codes


@dataclass(frozen=True)
class CategoryColumn:
    """A code for each known text: its place in ``values``, from 1.

    unknown, missing: codes of a text that is not among them, and of no text; 0 where training rows had none of it, so that
    nothing is claimed to be known. channel: "categories", or "tokens".
    """

    kind: ClassVar = "category"
    num_numbers: ClassVar = 0
    num_codes: ClassVar = 1
    name: str
    values: tuple[str, ...] = field(default=())
    unknown: int = 0
    missing: int = 0
    channel: str = "categories"

    def __post_init__(self) -> None:
        _check(self.name, self.values)
        own = [code for code in (self.unknown, self.missing) if code]
        if len(set(self.values)) < len(self.values) or self.channel not in ("categories", "tokens"):
            raise InputError(f"column {self.name!r}: expected distinct values, and channel categories or tokens")
        if sorted(own) != list(range(len(self.values) + 1, len(self.values) + 1 + len(own))) or not self.code_size:
            raise InputError(f"column {self.name!r}: codes of unknown and missing follow those of its values")

    @property
    def code_size(self) -> int:
        """The largest code."""
        return max(len(self.values), self.unknown, self.missing)

    def read(self, cells: Cells, missing: Collection[str]) -> tuple[Floats, Codes]:
        """The code of each cell; every text is good."""
        codes: dict[str | None, int] = {text: place for place, text in enumerate(self.values, 1)}
        codes[None] = self.missing
        found = [codes.get(text, self.unknown) for text in as_text(cells, missing).tolist()]
        return np.zeros((len(cells), 0)), np.array(found, dtype=np.int64)[:, None]


Column = NumberColumn | BooleanColumn | DateColumn | CategoryColumn
KINDS: Final[Mapping[str, type[Column]]] = {
    kind.kind: kind for kind in (NumberColumn, BooleanColumn, DateColumn, CategoryColumn)
}


def column_to_value(column: Column) -> dict[str, Any]:
    """A column as plain values, what is at its default left out."""
    value: dict[str, Any] = {"kind": column.kind}
    for item in fields(column):
        found = getattr(column, item.name)
        if item.default is NO_DEFAULT or found != item.default:
            value[item.name] = list(found) if isinstance(found, tuple) else found
    return value


def column_from_value(value: object) -> Column:
    """The column of plain values. Raises: InputError."""
    kind = KINDS.get(str(value.get("kind"))) if isinstance(value, Mapping) else None
    if kind is None or not isinstance(value, Mapping):
        raise InputError(f"decoder: expected a column of kind {', '.join(KINDS)}, got {value!r}"[:300])
    known = {item.name: str(item.type) for item in fields(kind)}
    for name, found in value.items():
        if name != "kind" and (name not in known or not _fits(known[name], found)):
            raise InputError(f"decoder: column {str(value.get('name'))[:80]!r}: {name}: {found!r} does not fit"[:300])
    if "name" not in value:
        raise InputError("decoder: a column has no name")
    given: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in value.items() if name != "kind"
    }
    return kind(**given)


def _fits(kind: str, value: object) -> bool:
    if kind.startswith("tuple"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is {"float": float, "int": int}.get(kind, str)


def refuse_text(text: object, what: str) -> str:
    """The text, if it is one of at most so many characters. Raises: InputError."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise InputError(f"decoder: {what}: expected text of at most {MAX_TEXT:,} characters, got {str(text)[:80]!r}")
    return text


def _check(name: object, texts: tuple[str, ...]) -> None:
    for text in (name, *texts):
        refuse_text(text, "column")


def _no_codes(cells: Cells) -> Codes:
    return np.zeros((len(cells), 0), dtype=np.int64)


def _waves(days: Floats, length: float) -> tuple[Floats, Floats]:
    phase = 2 * np.pi * ((days / length) % 1.0)
    return np.sin(phase), np.cos(phase)


def _refuse(name: str, cells: Cells, bad: Flags, wanted: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"column {name!r}, row {row + 1} (of {int(bad.sum())} such): expected {wanted}, got {str(cells[row])[:80]!r}; "
            "leave the cell empty where the value is not known"
        )
