"""Small files of JSON beside a campaign's log: read whole, within a bound, and checked before they are used.

Nouns: *shape* (what a field of a file may hold: a predicate and its words).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from population.errors import DamageError
from population.files.local_files import FileSystem, read_small

#: No side file is longer; a summary grows with the front of its campaign, all others have a few lines.
MAX_BYTES = 1 << 26
_MOST = 2**63


@dataclass(frozen=True)
class Shape:
    """What a field may hold, in words and as a test."""

    words: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float holds; NaN is one, of a score that nobody has."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) < _MOST


def _is_moment(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and abs(value) < 1e11


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _table_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def rows_of(**fields: Shape) -> Shape:
    """Returns the shape of a list of mappings that have these fields at least; others hold a text, a number or nothing."""

    def fits(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(row, dict) and _row_fits(row) for row in value)

    def _row_fits(row: Mapping[str, Any]) -> bool:
        is_whole = all(name in row and shape.fits(row[name]) for name, shape in fields.items())
        return is_whole and all(entry is None or _is_text(entry) or _is_number(entry) for entry in row.values())

    return Shape(f"a list of mappings with {', '.join(fields)}", fits)


TEXT = Shape("a text", _is_text)
TEXT_OR_NONE = Shape("a text or null", _or_none(_is_text))
COUNT = Shape("a whole number", _is_count)
COUNT_OR_NONE = Shape("a whole number or null", _or_none(_is_count))
NUMBER = Shape("a number", _is_number)
NUMBER_OR_NONE = Shape("a number or null", _or_none(_is_number))
MOMENT_OR_NONE = Shape("seconds since 1970 or null", _or_none(_is_moment))
TEXTS = Shape("a list of texts", lambda value: isinstance(value, list) and all(map(_is_text, value)))
NUMBERS = Shape("a mapping of numbers", _table_of(_or_none(_is_number)))
SCORES = Shape("a mapping of mappings of numbers", _table_of(_table_of(_or_none(_is_number))))


def read_json(files: FileSystem, path: Path, remedy: str) -> Any:
    """Returns the value of a file of JSON.

    Raises:
        NotFound: there is none. StorageError: it cannot be read. DamageError: it is no JSON, or longer than any such file.
    """
    data = read_small(files, path, MAX_BYTES, remedy, DamageError)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{path}: not readable as JSON ({str(error)[:200]}); {remedy}") from error


def read_record(files: FileSystem, path: Path, remedy: str) -> dict[str, Any]:
    """Returns the mapping that a file of JSON holds. Raises: as ``read_json``, and DamageError for another value."""
    value = read_json(files, path, remedy)
    if not isinstance(value, dict):
        raise DamageError(f"{path}: expected one JSON object, found {_short(value)}; {remedy}")
    return value


def check_fields(
    value: Mapping[str, Any], path: Path, remedy: str, needed: Mapping[str, Shape], optional: Mapping[str, Shape]
) -> None:
    """Raises DamageError, naming file, field and value, where a record lacks a needed field or holds one of another shape."""
    for name, shape in (*needed.items(), *optional.items()):
        if name not in value:
            if name in needed:
                raise DamageError(f"{path}: has no field {name!r}; {remedy}")
        elif not shape.fits(value[name]):
            raise DamageError(f"{path}: field {name!r} is {_short(value[name])}, expected {shape.words}; {remedy}")


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= _MOST:
        return "a number of more than 63 bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
