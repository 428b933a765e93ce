"""A state as bytes and back: exact, typed, and of plain data only, so that reading one can run nothing.

Values go by columns: of many records of one type, all first fields, then all second ones, so that a population costs a few
lists. A head of JSON says what there is; arrays and byte strings follow raw. Dataclasses and named tuples go by name, and
only those that the reader was given are made again, with exactly the fields that they have here; a ``Problem`` is not
written, since it follows from the config. Floats keep their bits, infinite ones too; mappings keep their order.

Nouns: *column* (values of one kind), *form* (how the head says a column), *raw* (what follows the head).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from evolve.strategies import Problem
from population.errors import FormatError

_PLAIN = frozenset({type(None), bool, int, float, str})
_ARRAYS = "biuf"
_DTYPE = re.compile(rf"[<>|][{_ARRAYS}]\d\d?")
_MAX_DEPTH = 32


class UnknownType(TypeError):
    """A value holds something that the codec has no form for."""


def encode(value: Any, known: Iterable[type]) -> tuple[str, bytes]:
    """Returns head and raw. Args: known: the dataclasses that may occur. Raises UnknownType for anything else."""
    writer = _Writer({found: field_names(found) for found in known})
    head = json.dumps(writer.form([value]), separators=(",", ":"))
    return head, b"".join(writer.raw)


def decode(head: str, raw: bytes, known: Iterable[type], problem: Problem) -> Any:
    """Returns the value. Raises FormatError for bytes that ``encode`` did not make of these dataclasses."""
    reader = _Reader({found.__name__: found for found in known}, raw, problem)
    try:
        (value,) = reader.column(json.loads(head), 1, _MAX_DEPTH)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as error:
        raise FormatError(f"a state that cannot be read: {error}") from error
    return value


def field_names(found: type) -> tuple[str, ...]:
    """Returns the names of the fields of a dataclass or a named tuple, in order."""
    if is_dataclass(found):
        return tuple(entry.name for entry in fields(found))
    return tuple(getattr(found, "_fields", ()))


class _Writer:
    """Makes forms; ``raw`` collects what follows the head, in pieces."""

    def __init__(self, known: Mapping[type, tuple[str, ...]]) -> None:
        self.raw: list[bytes] = []
        self._known, self._size = known, 0

    def form(self, values: Sequence[Any]) -> list[Any]:
        """Returns the form of a column."""
        kinds = set(map(type, values))
        if kinds <= _PLAIN:
            return ["v", *values]
        if len(kinds) == 1:
            return self._alike(kinds.pop(), values)
        if len(kinds) == 2 and type(None) in kinds:
            there = [value for value in values if value is not None]
            return ["o", [int(value is not None) for value in values], self.form(there)]
        return ["x", *[self.form([value]) for value in values]]

    def _alike(self, kind: type, values: Sequence[Any]) -> list[Any]:
        if kind is bytes:
            return ["b", self._append(values), [len(value) for value in values]]
        if kind is tuple:
            sizes = [len(value) for value in values]
            if len(set(sizes)) == 1:
                return ["t", sizes[0], *[self.form(column) for column in zip(*values, strict=True)]]
            return ["s", sizes, self.form(list(chain.from_iterable(values)))]
        if kind is dict:
            keys = self.form(list(chain.from_iterable(values)))
            return ["m", [len(value) for value in values], keys, self.form([v for d in values for v in d.values()])]
        if kind is np.ndarray:
            return self._arrays(values)
        if kind is Problem:
            return ["p"]
        if kind in self._known:
            columns = ([getattr(value, name) for value in values] for name in self._known[kind])
            return ["d", kind.__name__, *[self.form(column) for column in columns]]
        raise UnknownType(f"{kind.__module__}.{kind.__qualname__} cannot be written into a checkpoint")

    def _arrays(self, values: Sequence[Any]) -> list[Any]:
        first = values[0]
        if any(value.shape != first.shape or value.dtype != first.dtype for value in values):
            return ["x", *[self.form([value]) for value in values]]
        if first.dtype.kind not in _ARRAYS:
            raise UnknownType(f"an array of {first.dtype} cannot be written into a checkpoint")
        place = self._append([np.ascontiguousarray(value).tobytes() for value in values])
        return ["a", first.dtype.str, list(first.shape), place]

    def _append(self, pieces: Sequence[bytes]) -> int:
        place = self._size
        self.raw.extend(pieces)
        self._size += sum(map(len, pieces))
        return place


class _Reader:
    """Makes columns of forms."""

    def __init__(self, known: Mapping[str, type], raw: bytes, problem: Problem) -> None:
        self._known, self._raw, self._problem = known, raw, problem

    def column(self, form: list[Any], count: int, depth: int) -> list[Any]:
        """Returns the ``count`` values of a form. Raises ValueError where it holds another number, or nests too deep."""
        tag, *rest = form
        if depth == 0:
            raise ValueError("nested too deep")
        if tag == "v":
            found = rest
        elif tag == "o":
            there = iter(self.column(rest[1], sum(rest[0]), depth - 1))
            found = [next(there) if is_there else None for is_there in rest[0]]
        elif tag == "x":
            found = [self.column(entry, 1, depth - 1)[0] for entry in rest]
        elif tag == "p":
            found = [self._problem] * count
        else:
            found = self._alike(tag, rest, count, depth - 1)
        if len(found) != count:
            raise ValueError(f"a column of {len(found)}, expected {count}")
        return found

    def _alike(self, tag: str, rest: list[Any], count: int, depth: int) -> list[Any]:
        if tag == "b":
            return [self._piece(rest[0] + start, end - start) for start, end in _spans(rest[1])]
        if tag == "t":
            columns = [self.column(entry, count, depth) for entry in rest[1:]]
            return list(zip(*columns, strict=True)) if rest[0] else [()] * count
        if tag == "s":
            flat = self.column(rest[1], sum(rest[0]), depth)
            return [tuple(flat[start:end]) for start, end in _spans(rest[0])]
        if tag == "m":
            keys, values = (self.column(entry, sum(rest[0]), depth) for entry in rest[1:])
            return [dict(zip(keys[start:end], values[start:end], strict=True)) for start, end in _spans(rest[0])]
        if tag == "a":
            return self._arrays(rest[0], tuple(rest[1]), rest[2], count)
        if tag == "d":
            found = self._known[rest[0]]
            columns = [self.column(entry, count, depth) for entry in rest[1:]]
            if len(columns) != len(field_names(found)):
                raise ValueError(f"{rest[0]} with {len(columns)} fields")
            return [found(*entries) for entries in zip(*columns, strict=True)]
        raise ValueError(f"an unknown tag {tag!r}")

    def _arrays(self, kind: str, shape: tuple[int, ...], place: int, count: int) -> list[Any]:
        if not _DTYPE.fullmatch(kind) or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError(f"an array of {kind}, {shape}")
        dtype = np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        pieces = (self._piece(place + row * size, size) for row in range(count))
        return [np.frombuffer(piece, dtype=dtype).reshape(shape).copy() for piece in pieces]

    def _piece(self, place: int, size: int) -> bytes:
        if not 0 <= place <= place + size <= len(self._raw):
            raise ValueError(f"{size} bytes at {place} of {len(self._raw)}")
        return self._raw[place : place + size]


def _spans(sizes: Sequence[int]) -> Iterable[tuple[int, int]]:
    if any(size < 0 for size in sizes):
        raise ValueError("a negative size")
    return pairwise(accumulate(sizes, initial=0))
