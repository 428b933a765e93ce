"""The canonical bytes of one row of a stack, as they cross the wire, lie at keyframes, and are digested.

A row is ``b"EVROW1"``, the length of a header (4 bytes, little-endian), the header in canonical DAG-CBOR, and the raw
little-endian numbers of the live part of every tensor and of every state value, in the header's order. The header holds
``graph`` (its digest), ``widths`` (of the sorted symbols), ``tensors`` (sorted names) and ``state`` (sorted
``[name, dtype, shape]``). Every row of the same live values has the same bytes, whatever stack it stands in.

Nouns: *header*, *payload* (the numbers after it).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from blake3 import blake3

from population.encoding.cbor import decode, encode
from population.errors import FormatError, InvalidGraph
from population.graphs.graph import OpGraph
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.stacks.dtypes import NumberTypes
from population.stacks.stack import TIER_MARK, Stack, absent_rows

MAGIC: Final = b"EVROW1"
MAX_HEADER_BYTES: Final = 1 << 20
_TABLE_BYTES: Final = 1 << 19
_START: Final = len(MAGIC) + 4
STATE_DTYPES: Final = NumberTypes("float32", "float64", "int64")
_NUMPY: Final[dict[str, np.dtype[Any]]] = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "int64": np.dtype("<i8"),
}
_Entry = tuple[str, str, tuple[int, ...]]


def encode_rows(stack: Stack) -> list[bytes]:
    """The canonical bytes of every row, which do not depend on the others."""
    groups = _alike(stack)
    if len(groups) == 1:
        return _encode_alike(stack)
    found: dict[int, bytes] = {}
    for members in groups:
        found.update(zip(members, _encode_alike(stack.gather(members)), strict=True))
    return [found[row] for row in range(stack.num_rows)]


def encode_row(stack: Stack, row: int) -> bytes:
    """The canonical bytes of one row; of many, ``encode_rows`` is far cheaper."""
    return encode_rows(stack.gather([row]))[0]


def row_digests(stack: Stack) -> list[bytes]:
    """The weights digest of every row: BLAKE3 of its canonical bytes, 32 bytes."""
    return [blake3(data).digest() for data in encode_rows(stack)]


def _alike(stack: Stack) -> list[list[int]]:
    """The rows by what their headers say: widths, and which state values they have."""
    lacks = [absent_rows(value.detach()).tolist() for value in stack.state.values()]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, key in enumerate(zip(map(tuple, stack.widths.tolist()), *lacks, strict=True)):
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _encode_alike(stack: Stack) -> list[bytes]:
    """The bytes of rows that share a header."""
    live = stack.widths_of(0)
    values = {
        name: dims.take(stack.tensors[name].detach(), stack.spec_of(name).shape, stack.graph.symbols, live, 1)
        for name in sorted(stack.tensors)
    }
    state = {name: stack.state[name].detach() for name in stack.live_state(0)}
    entries = tuple((name, _dtype_name(name, value), tuple(value.shape[1:])) for name, value in state.items())
    header = _header(stack.graph.digest, tuple(live.values()), tuple(values), entries)
    start = b"".join([MAGIC, len(header).to_bytes(4, "little"), header])
    return list(_join(start, [value.numpy() for value in (*values.values(), *state.values())], stack.num_rows))


def _join(start: bytes, arrays: Sequence[np.ndarray[Any, Any]], num_rows: int) -> Iterator[bytes]:
    """For each row the same start and its own numbers of every array ``[P, ...]``."""
    sizes = [array.nbytes // num_rows for array in arrays]
    width = len(start) + sum(sizes)
    step = max(1, _TABLE_BYTES // width)  # rows whose bytes stay in the cache until they are copied out
    table = np.empty((min(step, num_rows), width), dtype=np.uint8)
    table[:, : len(start)] = np.frombuffer(start, dtype=np.uint8)
    for first in range(0, num_rows, step):
        count, place = min(step, num_rows - first), len(start)
        for array, size in zip(arrays, sizes, strict=True):
            some = np.ascontiguousarray(array[first : first + count], dtype=array.dtype.newbyteorder("<"))
            table[:count, place : place + size] = some.reshape(-1).view(np.uint8).reshape(count, size)
            place += size
        yield from (row.tobytes() for row in table[:count])


def decode_rows(graph: OpGraph, rows: Sequence[bytes]) -> Stack:
    """The stack of some rows. Raises: FormatError where one of them is not a canonical row of this graph."""
    if not rows:
        return Stack.zeros(graph, 0)
    groups: dict[bytes, tuple[list[int], list[bytes]]] = {}
    for place, data in enumerate(rows):
        header, payload = _split(bytes(data))
        places, payloads = groups.setdefault(header, ([], []))
        places.append(place)
        payloads.append(payload)
    stacks = [_decode_alike(graph, header, payloads) for header, (_, payloads) in groups.items()]
    if len(stacks) == 1:
        return stacks[0]
    order = [place for places, _ in groups.values() for place in places]
    return Stack.concat(stacks).gather(np.argsort(np.array(order)).tolist())


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The header and the payload of a row."""
    if data[: len(MAGIC)] != MAGIC or len(data) < _START:
        raise FormatError("row: does not begin as a row of a stack does")
    size = int.from_bytes(data[len(MAGIC) : _START], "little")
    if size > min(MAX_HEADER_BYTES, len(data) - _START):
        raise FormatError(f"row: claims a header of {size} bytes, {len(data) - _START} are there")
    return data[_START : _START + size], data[_START + size :]


def _decode_alike(graph: OpGraph, header: bytes, payloads: Sequence[bytes]) -> Stack:
    """The stack of rows that share a header."""
    widths, names, state = _read_header(graph, header)
    live = dict(zip(graph.symbol_names, widths, strict=True))
    shapes = [graph.parameters[name.partition(TIER_MARK)[0]].shape for name in names]
    tensors = [(name, "float32", dims.sizes(shape, live)) for name, shape in zip(names, shapes, strict=True)]
    values = _read_payloads(payloads, (*tensors, *state))
    states = values[len(names) :]
    for (name, _, _), value in zip(state, states, strict=True):
        if value.is_floating_point() and bool(torch.isnan(value).reshape(len(payloads), -1).all(dim=1).any()):
            raise FormatError(f"row: state {name[:80]!r} is absent but written down")
    wide = graph.symbols
    padded = [dims.put(v, s, wide, live, first_axis=1) for v, s in zip(values[: len(names)], shapes, strict=True)]
    return Stack(
        graph,
        dict(zip(names, padded, strict=True)),
        torch.tensor([widths] * len(payloads), dtype=torch.int64).reshape(len(payloads), len(widths)),
        {name: value for (name, _, _), value in zip(state, states, strict=True)},
    )


def _read_payloads(payloads: Sequence[bytes], entries: Sequence[_Entry]) -> list[torch.Tensor]:
    """For each entry the values of all rows, ``[P, *shape]``."""
    counts = [math.prod(shape) * _NUMPY[dtype].itemsize for _, dtype, shape in entries]
    for payload in payloads:
        if len(payload) != sum(counts):
            raise FormatError(f"row: expected {sum(counts)} bytes of numbers, got {len(payload)}")
    raw = np.frombuffer(b"".join(payloads), dtype=np.uint8).reshape(len(payloads), -1)
    values, start = [], 0
    for (_, dtype, shape), count in zip(entries, counts, strict=True):
        array = np.array(raw[:, start : start + count], order="C").view(_NUMPY[dtype])  # memory of its own
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        values.append(torch.from_numpy(native).reshape(len(payloads), *shape))
        start += count
    return values


@functools.lru_cache(maxsize=256)
def _header(graph: bytes, widths: tuple[int, ...], tensors: tuple[str, ...], state: tuple[_Entry, ...]) -> bytes:
    entries = [[name, dtype, list(shape)] for name, dtype, shape in state]
    return encode({"graph": graph, "state": entries, "tensors": list(tensors), "widths": list(widths)})


@functools.lru_cache(maxsize=256)
def _read_header(graph: OpGraph, data: bytes) -> tuple[tuple[int, ...], tuple[str, ...], tuple[_Entry, ...]]:
    value = decode(data)
    if not isinstance(value, dict) or set(value) != {"graph", "state", "tensors", "widths"}:
        raise FormatError("row: its header must hold graph, state, tensors and widths")
    if value["graph"] != graph.digest:
        raise FormatError("row: belongs to another op graph than the one it is read for")
    widths, names = value["widths"], value["tensors"]
    if not _is_list_of(widths, int) or len(widths) != len(graph.symbols):
        raise FormatError(f"row: expected {len(graph.symbols)} widths")
    try:
        graph.with_widths(dict(zip(graph.symbol_names, widths, strict=True)))
    except InvalidGraph as error:
        raise FormatError(f"row: {error}") from error
    _check_names(graph, names)
    return tuple(widths), tuple(names), _read_state(value["state"])


def _check_names(graph: OpGraph, names: Any) -> None:
    if not _is_list_of(names, str) or names != sorted(set(names)) or not set(graph.parameters) <= set(names):
        raise FormatError("row: its tensors must be the graph's parameters, sorted")
    for name in set(names) - set(graph.parameters):
        base, mark, tier = name.partition(TIER_MARK)
        if not (mark and tier) or base not in graph.parameters or not graph.parameters[base].per_tier:
            raise FormatError(f"row: the graph has no parameter {name[:80]!r}")


def _read_state(value: Any) -> tuple[_Entry, ...]:
    if not isinstance(value, list):
        raise FormatError("row: state must be a list")
    entries = []
    for item in value:
        if (
            not isinstance(item, list)
            or len(item) != 3
            or not isinstance(item[0], str)
            or not _is_list_of(item[2], int)
        ):
            raise FormatError("row: every state entry is a name, a dtype and a shape")
        name, dtype, shape = item
        if dtype not in STATE_DTYPES or len(shape) > dims.MAX_PARTS or any(not 0 <= size <= 2**31 for size in shape):
            raise FormatError(f"row: state {name[:80]!r} has a dtype or shape that is not supported")
        entries.append((name, dtype, tuple(shape)))
    if [name for name, _, _ in entries] != sorted({name for name, _, _ in entries}):
        raise FormatError("row: state entries must be sorted by name")
    return tuple(entries)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)


def _dtype_name(name: str, value: torch.Tensor) -> str:
    for dtype, kind in STATE_DTYPES.items():
        if value.dtype == kind:
            return dtype
    raise ValueError(f"state {name!r}: dtype {value.dtype} cannot be kept; use one of {', '.join(STATE_DTYPES)}")
