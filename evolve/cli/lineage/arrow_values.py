"""Values of Arrow columns as Python has them; moments that Python's calendar does not hold become text.

Python's dates end with the year 9999 and know no infinity; DuckDB's go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: What Python raises for a moment outside its calendar, and for a fraction of a second finer than it counts.
_OUTSIDE = (OverflowError, ValueError)


def values_of(column: Any) -> list[Any]:
    """Returns the values of a column."""
    try:
        return list(column.to_pylist())
    except _OUTSIDE:
        return [_value_of(scalar) for scalar in column]


def _value_of(scalar: Any) -> Any:
    from pyarrow import types

    if not scalar.is_valid:
        return None
    kind = scalar.type
    if types.is_map(kind):
        entries: Iterable[Any] = scalar.values
        return [(_value_of(entry["key"]), _value_of(entry["value"])) for entry in entries]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [_value_of(entry) for entry in scalar.values]
    if types.is_struct(kind):
        return {name: _value_of(entry) for name, entry in scalar.items()}
    try:
        return scalar.as_py()
    except _OUTSIDE:
        return _moment(scalar)


def _moment(scalar: Any) -> str:
    """Returns a date or a timestamp in ISO 8601, with as many digits in its year as that has."""
    import numpy as np
    from pyarrow import types

    kind: Any = scalar.type
    number = int(scalar.value)
    is_day = types.is_date32(kind)
    farthest = 2**31 - 1 if is_day else 2**63 - 1
    if abs(number) >= farthest:
        return "infinity" if number > 0 else "-infinity"
    unit: Any = "D" if is_day else kind.unit
    zone = "+00:00" if types.is_timestamp(kind) and kind.tz else ""
    text = str(np.datetime64(number, unit))
    year, rest = text.removeprefix("-").split("-", 1)
    return f"{'-' if text.startswith('-') else ''}{int(year):04d}-{rest}{zone}"
