"""The pages of a Parquet file, walked through before any is unpacked: how large each says that it becomes.

Source: the Thrift compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) and
PageHeader of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.

Nouns: *page* (a piece of a column that is packed by itself).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from population.errors import InputError

_MAX_DEPTH: Final = 8
_BROKEN: Final = "not readable as Parquet: the headers of its pages are damaged"
#: Encodings of text that cannot be read as a dictionary; in the second a value repeats the beginning of the one before, so that
#: a few bytes may stand for many.
_DELTA_LENGTHS, _DELTA_TEXT = 6, 7
_UNPACKED, _PACKED, _FIRST, _SECOND = 2, 3, 5, 8  # fields of PageHeader: sizes, headers of data pages of both versions


@dataclass(frozen=True)
class Pages:
    """What was found.

    Attributes:
        largest_bytes: of each column the largest page, unpacked, added up. below: the same for what a path names, itself and
            all below it (pyarrow takes "a" for "a.b" too). plain: paths of columns with text that is no
            dictionary. repeats: whether a page holds values that repeat parts of others.
    """

    largest_bytes: int
    below: Mapping[str, int]
    plain: frozenset[str]
    repeats: bool


def walk_pages(data: bytes, metadata: Any) -> Pages:
    """The pages of all columns of all row groups.

    Raises: InputError where a header cannot be read, or columns share bytes, so that one page would be walked many times.
    """
    largest: dict[tuple[int, str], int] = {}
    found: set[tuple[str, Any]] = set()
    left = len(data)
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            piece, key = _piece(data, column), (place, column.path_in_schema)
            left -= len(piece)
            if left < 0:
                raise InputError(_BROKEN)
            for fields, unpacked in _headers(piece):
                largest[key] = max(largest.get(key, 0), unpacked)
                found |= {(column.path_in_schema, _nested(fields, *at)) for at in ((_FIRST, 2), (_SECOND, 4))}
    plain = frozenset(path for path, encoding in found if encoding in (_DELTA_LENGTHS, _DELTA_TEXT))
    below: Counter[str] = Counter()
    for (_, path), size in largest.items():
        for prefix in accumulate(path.split("."), "{}.{}".format):
            below[prefix] += size
    return Pages(sum(largest.values()), below, plain, any(encoding == _DELTA_TEXT for _, encoding in found))


def _piece(data: bytes, column: Any) -> memoryview:
    """The bytes of a column in a row group."""
    begins = [column.data_page_offset, *([column.dictionary_page_offset] if column.has_dictionary_page else [])]
    begin = min(begins)
    end = begin + column.total_compressed_size
    if not 0 <= begin <= end <= len(data):
        raise InputError(_BROKEN)
    return memoryview(data)[begin:end]


def _headers(piece: memoryview) -> Iterator[tuple[dict[int, Any], int]]:
    """Yields the fields of each page's header, and how large the page becomes."""
    position = 0
    while position < len(piece):
        fields, start = _struct(piece, position, _MAX_DEPTH)
        unpacked, packed = fields.get(_UNPACKED), fields.get(_PACKED)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            raise InputError(_BROKEN)
        yield fields, unpacked
        position = start + packed


def _nested(fields: dict[int, Any], outer: int, inner: int) -> Any:
    found = fields.get(outer)
    return found.get(inner) if isinstance(found, dict) else None


def _struct(data: memoryview, position: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by number, whole numbers and structs alone, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while (head := _byte(data, position)) != 0:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            raw, position = _varint(data, position)
            number = _signed(raw)
        fields[number], position = _value(data, position, head & 15, depth)
    return fields, position + 1


def _value(data: memoryview, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true and false, which the head says
        return kind == 1, position
    if kind in (4, 5, 6):
        raw, position = _varint(data, position)
        return _signed(raw), position
    if kind == 8:
        size, position = _varint(data, position)
        return None, position + size
    if kind == 12 and depth:
        return _struct(data, position, depth - 1)
    if kind in (9, 10) and depth:
        return None, _skip_list(data, position, depth)
    if kind in (3, 7):
        return None, position + (1 if kind == 3 else 8)
    raise InputError(_BROKEN)


def _skip_list(data: memoryview, position: int, depth: int) -> int:
    head = _byte(data, position)
    count, position = (head >> 4, position + 1) if head >> 4 < 15 else _varint(data, position + 1)
    if count > len(data) - position:
        raise InputError(_BROKEN)
    for _ in range(count):
        if head & 15 in (1, 2):  # in a list each takes a byte
            position += 1
        else:
            _, position = _value(data, position, head & 15, depth - 1)
    return position


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        byte = _byte(data, position)
        position += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, position
    raise InputError(_BROKEN)


def _signed(raw: int) -> int:
    return (raw >> 1) ^ -(raw & 1)


def _byte(data: memoryview, position: int) -> int:
    if not 0 <= position < len(data):
        raise InputError(_BROKEN)
    return data[position]
