"""Canonical DAG-CBOR: one value, one sequence of bytes; bytes from strangers are refused before they can hurt.

The package cbor2 encodes and decodes; this module stands in front of it. `decode` first walks the bytes without building
anything (size, depth, lengths that fit, no tags but links that are CIDs of ours), because the package builds dates,
patterns, fractions and shared references for whoever sends their tags. What it read is then checked (plain values, finite
numbers, sorted keys) and must be written as the same bytes again: lengths and integers that are not minimal, short floats
and whatever else the package reads generously are thereby refused.

Nouns: link (a CID inside a value, tag 42 on the wire).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from population.encoding.cid import bytes_of_cid, cid_of_bytes
from population.errors import FormatError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
_LINK_TAG: Final = 42
_LINK_BYTES: Final = 37  # a zero, which says "binary", then the 36 bytes of the CID
_LEAST_INT: Final = -(1 << 64)
_MOST_INT: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to another object by its CID.

    Raises: FormatError when `cid` is not a content id of this store.
    """

    cid: str

    def __post_init__(self) -> None:
        bytes_of_cid(self.cid)


def encode(value: object) -> bytes:
    """The canonical DAG-CBOR of a value made of None, bool, int, float, str, bytes, Link, lists, tuples and mappings.

    Tuples are written as lists; the order of a mapping's keys does not matter.

    >>> encode({"b": [1, True], "a": None}).hex()
    'a26161f661628201f5'

    Raises: FormatError for any other type, NaN, infinity, keys that are not strings, integers outside 64 bits, more than
        32 levels of nesting, and text that is not valid Unicode.
    """
    plain = _to_plain(value, MAX_DEPTH)
    try:
        return cbor2.dumps(plain)
    except (cbor2.CBOREncodeError, ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"a value that DAG-CBOR cannot say: {error}") from error


def decode(data: bytes, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The value that canonical DAG-CBOR bytes stand for; lists come back as lists, links as `Link`.

    `encode(decode(data)) == data` for whatever is accepted.

    Raises: FormatError for everything that is not canonical DAG-CBOR within the limits; nothing else.
    """
    if len(data) > max_bytes:
        raise FormatError(f"CBOR of {len(data)} bytes where at most {max_bytes} are read")
    data = bytes(data)
    _check_structure(data, min(max_depth, MAX_DEPTH))
    try:
        plain = cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False, strict_hashable_types=True)
        written = cbor2.dumps(plain)
    except (cbor2.CBORError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise FormatError(f"not canonical DAG-CBOR: {error}") from error
    value = _from_plain(plain)
    if written != data:
        raise FormatError(
            "not canonical DAG-CBOR: a length or integer is not in its shortest form, or a float is short"
        )
    return value


def _to_plain(value: object, levels_left: int) -> Any:
    """The value as the package writes it canonically: keys sorted, links tagged. Raises: FormatError."""
    if value is None or isinstance(value, bool | str | bytes):
        return value
    if isinstance(value, int):
        if not _LEAST_INT <= value <= _MOST_INT:
            raise FormatError(f"an integer outside 64 bits cannot be encoded: {hex(value)[:40]}")
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, Link):
        return cbor2.CBORTag(_LINK_TAG, b"\0" + bytes_of_cid(value.cid))
    if levels_left == 0:
        raise FormatError(f"a value nested deeper than {MAX_DEPTH} levels cannot be encoded")
    if isinstance(value, Mapping):
        return {key: _to_plain(value[key], levels_left - 1) for key in _sorted_keys(value)}
    if isinstance(value, list | tuple):
        return [_to_plain(item, levels_left - 1) for item in value]
    raise FormatError(f"{type(value).__name__} cannot be encoded; give plain values, lists, mappings, bytes or Link")


def _from_plain(value: Any) -> Any:
    """What the package read, links as `Link`. Raises: FormatError for what we never write."""
    kind = type(value)
    if kind is str or kind is int or kind is bytes or kind is bool or value is None:
        return value
    if kind is dict:
        if list(value) != _sorted_keys(value):
            raise FormatError(f"not canonical DAG-CBOR: the keys of a mapping are not sorted: {str(list(value))[:80]}")
        return {key: _from_plain(item) for key, item in value.items()}
    if kind is list:
        return [_from_plain(item) for item in value]
    if kind is float:
        return _finite(value)
    if kind is cbor2.CBORTag:
        return Link(cid_of_bytes(value.value[1:]))
    raise FormatError(f"not canonical DAG-CBOR: {value!r} is no value that is known here")


def _sorted_keys(value: Mapping[Any, Any]) -> list[str]:
    for key in value:
        if not isinstance(key, str):
            raise FormatError(f"a key of a mapping must be a string, got {key!r} of type {type(key).__name__}")
    return sorted(value, key=_place_of_key)


def _place_of_key(key: str) -> tuple[int, bytes]:
    data = key.encode(errors="surrogatepass")  # the package refuses it in its own words
    return len(data), data


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise FormatError(f"a number that DAG-CBOR cannot say: {value}")
    return value


def _check_structure(data: bytes, max_depth: int) -> None:
    """Walks all items of `data` in one pass and constant memory per level; builds nothing.

    Raises: FormatError when an item is cut short, claims more than there is, nests too deep, or is no link of ours.
    """
    position = 0
    open_items = [1]  # how many items each open list or map still waits for
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        major, argument, position = _read_head(data, position)
        if major in (2, 3):
            position = _skip(data, position, argument)
        elif major in (4, 5):
            if len(open_items) > max_depth:
                raise FormatError(f"CBOR nested deeper than {max_depth} levels at byte {position}")
            count = argument * (2 if major == 5 else 1)
            if count > len(data) - position:
                raise FormatError(
                    f"CBOR claims {count} items at byte {position} where {len(data) - position} bytes are left"
                )
            open_items.append(count)
        elif major == 6:
            position = _skip_link(data, position, argument)
    if position != len(data):
        raise FormatError(f"CBOR ends at byte {position} but {len(data)} bytes were given")


def _read_head(data: bytes, position: int) -> tuple[int, int, int]:
    """The major type, the argument and where the item goes on."""
    if position >= len(data):
        raise FormatError(f"CBOR is cut short at byte {position}")
    major, short = data[position] >> 5, data[position] & 0x1F
    position += 1
    if short < 24:
        return major, short, position
    if short > 27:
        raise FormatError(f"CBOR with an indefinite or reserved length at byte {position - 1}")
    size = 1 << (short - 24)
    end = _skip(data, position, size)
    return major, int.from_bytes(data[position:end], "big"), end


def _skip(data: bytes, position: int, count: int) -> int:
    if count > len(data) - position:
        raise FormatError(f"CBOR claims {count} bytes at byte {position} where {len(data) - position} are left")
    return position + count


def _skip_link(data: bytes, position: int, tag: int) -> int:
    if tag != _LINK_TAG:
        raise FormatError(f"CBOR tag {tag} at byte {position}; only links (tag {_LINK_TAG}) are known")
    major, size, start = _read_head(data, position)
    end = _skip(data, start, size)
    if major != 2 or size != _LINK_BYTES or data[start] != 0:
        raise FormatError(f"a CBOR link at byte {position} is not a zero and a CID of 36 bytes")
    cid_of_bytes(bytes(data[start + 1 : end]))
    return end
