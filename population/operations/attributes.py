"""How the attributes of a node are written, checked and brought into one form, so that equal graphs have equal bytes.

Nouns: *attribute* (a fixed setting of a node: a kernel size, a constant), *attribute kind* (how one is checked).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from population.errors import InvalidGraph
from population.operations.dimensions import format_dim, parse_dim

Attribute = int | float | str | tuple[Any, ...]
MAX_SIZE: Final = 2**20
MAX_LISTED: Final = 4096


@dataclass(frozen=True)
class AttributeKind:
    """How one attribute is read.

    Attributes:
        read: value as written -> the one form it is kept in; raises InvalidGraph saying what was expected.
        default: what an absent attribute means, in that form. None: nothing is kept for an absent one.
        is_required: whether it must be given.
        is_inner: whether it is a dimension that the shapes around the node do not tell; `run` and `flops` get its size.
    """

    read: Callable[[object], Attribute]
    default: Attribute | None = None
    is_required: bool = False
    is_inner: bool = False


def size(default: int | None = None, least: int = 1) -> AttributeKind:
    """A whole number of at least ``least``."""

    def read(value: object) -> Attribute:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SIZE:
            raise InvalidGraph(f"expected a whole number from {least} to {MAX_SIZE}, got {value!r}"[:200])
        return value

    return AttributeKind(read, default, is_required=default is None)


def optional_size(least: int = 1) -> AttributeKind:
    """A whole number of at least ``least``, or nothing."""
    return AttributeKind(size(least, least).read)


def size_or_sizes() -> AttributeKind:
    """A whole number from 1, or a list of them, one for each place of an axis; must be given."""
    one = size()

    def read(value: object) -> Attribute:
        if not isinstance(value, list | tuple):
            return one.read(value)
        if not 1 <= len(value) <= MAX_LISTED:
            raise InvalidGraph(f"expected a whole number or a list of 1 to {MAX_LISTED} of them, got {len(value)}")
        return tuple(one.read(item) for item in value)

    return AttributeKind(read, is_required=True)


def choice(default: str, *others: str) -> AttributeKind:
    """One of some words."""
    known = (default, *others)

    def read(value: object) -> Attribute:
        if not isinstance(value, str) or value not in known:
            raise InvalidGraph(f"expected one of {', '.join(known)}, got {value!r}"[:200])
        return value

    return AttributeKind(read, default)


def sizes(default: int | None = None, least: int = 1, axes: int = 2, is_required: bool = False) -> AttributeKind:
    """A whole number for every axis, or one for all of them; kept as a single number where they are equal."""
    one = size(default, least)

    def read(value: object) -> Attribute:
        if not isinstance(value, list | tuple):
            return one.read(value)
        if len(value) != axes:
            raise InvalidGraph(f"expected one whole number or {axes} of them, got {value!r}"[:200])
        each = tuple(one.read(item) for item in value)
        return each[0] if len(set(each)) == 1 else each

    return AttributeKind(read, default, is_required)


def number(default: float | None = None) -> AttributeKind:
    """A finite real number."""

    def read(value: object) -> Attribute:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise InvalidGraph(f"expected a finite number, got {value!r}"[:200])
        return float(value)

    return AttributeKind(read, default)


def numbers() -> AttributeKind:
    """A list of finite real numbers, at least one; must be given."""
    one = number()

    def read(value: object) -> Attribute:
        if not isinstance(value, list | tuple) or not value:
            raise InvalidGraph(f"expected a list of numbers, got {value!r}"[:200])
        return tuple(one.read(item) for item in value)

    return AttributeKind(read, is_required=True)


def places() -> AttributeKind:
    """A list of whole numbers from 0, at least one; must be given."""
    one = size(0, least=0)

    def read(value: object) -> Attribute:
        if not isinstance(value, list | tuple) or not value:
            raise InvalidGraph(f"expected a list of whole numbers, got {value!r}"[:200])
        return tuple(one.read(item) for item in value)

    return AttributeKind(read, is_required=True)


def positive(default: float) -> AttributeKind:
    """A finite number above 0."""
    any_number = number()

    def read(value: object) -> Attribute:
        found = any_number.read(value)
        if float(found) <= 0:  # type: ignore[arg-type]
            raise InvalidGraph(f"expected a number above 0, got {value!r}"[:200])
        return found

    return AttributeKind(read, default)


def flag(default: bool) -> AttributeKind:
    """True or false."""

    def read(value: object) -> Attribute:
        if not isinstance(value, bool):
            raise InvalidGraph(f"expected true or false, got {value!r}"[:200])
        return value

    return AttributeKind(read, default)


def dimension(is_inner: bool = False) -> AttributeKind:
    """A dimension, as `population.operations.dimensions.parse_dim` reads it; must be given."""
    return AttributeKind(lambda value: format_dim(parse_dim(value)), is_required=True, is_inner=is_inner)


def shape() -> AttributeKind:
    """A list of dimensions; must be given."""

    def read(value: object) -> Attribute:
        if not isinstance(value, list | tuple):
            raise InvalidGraph(f"expected a list of dimensions, got {value!r}"[:200])
        return tuple(format_dim(parse_dim(item)) for item in value)

    return AttributeKind(read, is_required=True)


def order() -> AttributeKind:
    """Every axis once, counted from 0: a permutation; must be given."""

    def read(value: object) -> Attribute:
        if not isinstance(value, list | tuple) or sorted(map(str, value)) != sorted(map(str, range(len(value)))):
            raise InvalidGraph(f"expected every axis once, such as [1, 0], got {value!r}"[:200])
        return tuple(int(axis) for axis in value)

    return AttributeKind(read, is_required=True)


def per_axis(value: Attribute, axes: int) -> tuple[int, ...]:
    """The numbers of a ``sizes`` attribute, one for each axis."""
    return tuple(int(item) for item in value) if isinstance(value, tuple) else (int(value),) * axes
