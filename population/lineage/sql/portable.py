"""Rows of DuckDB as Arrow carries them without loss: columns of types that Arrow does not have become text.

Noun: a *portable* type is one whose every value Arrow holds as it is, but for whole numbers beyond 38 digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Types that come to Arrow as opaque bytes, as another number, or not at all.
_AS_TEXT = frozenset(("uhugeint", "bit", "bignum", "union", "variant", "geometry", "time with time zone"))
_NESTED = frozenset(("list", "array", "struct", "map"))


def is_portable(kind: Any) -> bool:
    """Whether Arrow holds every value of a DuckDB type, looking into lists, structs and maps."""
    name = str(kind.id)
    if name in _AS_TEXT:
        return False
    children = kind.children if name in _NESTED else ()
    return all(is_portable(child) for _, child in children if not isinstance(child, int))  # an array's size is one


def portable(relation: Any, names: Sequence[str]) -> Any:
    """Returns the relation with columns of these names, those that are not portable as text, as DuckDB writes it."""
    if all(is_portable(kind) for kind in relation.types):
        return relation
    columns = [
        f"#{place}{'' if is_portable(kind) else '::VARCHAR'} AS {_quoted(name)}"
        for place, (kind, name) in enumerate(zip(relation.types, names, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))


def _quoted(name: str) -> str:
    text = name.replace('"', '""')
    return f'"{text or "column"}"'
