"""Manifests: the canonical bytes of a tensor block, written and read. FORMAT.md beside this file is the specification.

A tensor that tiers slice is kept as one leaf for each tier's increment: what the narrowest tier uses, then what each wider
one adds, each in row-major order.

Nouns: *increment* (the entries that a tier adds), *chunk* (1 MiB of a large leaf, with a digest of its own).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from blake3 import blake3

from population.encoding.cbor import Link
from population.encoding.cid import cid_of, parse_cid
from population.errors import FormatError, InvalidGraph
from population.graphs.exit_gates import MAX_GATES, ExitGate
from population.graphs.graph import OpGraph, graph_from_stored
from population.graphs.shape_inference import MAX_PARAMETER_BYTES
from population.inputs.decoder import MAX_BYTES, Decoder
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.stacks.dtypes import DTYPES
from population.stacks.stack import TIER_MARK
from population.stacks.tiers import TIERS, Tiers, check_tiers, expected_shapes

FORMAT: Final = "tensor-block"
VERSION: Final = 2
#: The version of blocks without a decoder, whose bytes are what they always were.
PLAIN_VERSION: Final = 1
CHUNK_BYTES: Final = 1 << 20
_KEYS: Final = {
    PLAIN_VERSION: {"format", "gates", "graph", "tensors", "tiers", "version"},
    VERSION: {"decoder", "format", "gates", "graph", "tensors", "tiers", "version"},
}


@dataclass(frozen=True)
class Parts:
    """What a manifest describes: the fields of a ``TensorBlock``, as its page says them."""

    graph: OpGraph
    tensors: Mapping[str, torch.Tensor]
    tiers: Tiers
    gates: tuple[ExitGate, ...]
    decoder: Decoder | None


def write_manifest(block: Parts) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest of a block's parts and its leaves by CID."""
    leaves: dict[str, bytes] = {}
    tensors = {}
    for name in sorted(block.tensors):
        tensor = block.tensors[name]
        levels = tier_levels(block.graph, block.tiers, name)
        parts = [_to_bytes(part) for part in split_increments(tensor, levels)]
        tensors[name] = {
            "dtype": _dtype_name(tensor.dtype),
            "leaves": [_describe(part, leaves) for part in parts],
            "shape": list(tensor.shape),
        }
    value = {
        "format": FORMAT,
        "gates": [gate.to_value() for gate in block.gates],
        "graph": block.graph.to_value(),
        "tensors": tensors,
        "tiers": {tier: dict(widths) for tier, widths in block.tiers.items()},
        "version": PLAIN_VERSION,
    }
    if block.decoder is not None:
        value |= {"decoder": _describe(block.decoder.encoded, leaves), "version": VERSION}
    return value, leaves


def _describe(data: bytes, leaves: dict[str, bytes]) -> dict[str, Any]:
    cid = cid_of(data, "raw")
    leaves[cid] = data
    described: dict[str, Any] = {"bytes": len(data), "link": Link(cid)}
    if len(data) > CHUNK_BYTES:
        described["chunks"] = [blake3(chunk).digest() for chunk in _chunks(data)]
    return described


def _chunks(data: bytes) -> list[memoryview]:
    view = memoryview(data)
    return [view[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


def tier_levels(graph: OpGraph, tiers: Tiers, name: str) -> list[tuple[tuple[int, ...], list[list[bool]]]]:
    """For each tier that adds entries to a tensor: how many, by what positions of each axis it uses.

    Returns the (sizes, live positions by axis) of every tier of which the sizes differ from those of the tier below; of a
    single level no positions, which nothing needs.
    """
    base, mark, _ = name.partition(TIER_MARK)
    shape = graph.parameters[base].shape
    ordered = [tiers[tier] for tier in TIERS if tier in tiers] if tiers and not mark else [graph.symbols]
    if mark:
        ordered = [tiers[name.rpartition(TIER_MARK)[2]]]
        wide: Mapping[str, int] = ordered[0]
    else:
        wide = graph.symbols
    levels: list[tuple[tuple[int, ...], list[list[bool]]]] = []
    for widths in ordered:
        found = dims.sizes(shape, widths)
        if not levels or found != levels[-1][0]:
            live = [] if len(ordered) == 1 else [dims.live_positions(dim, wide, widths) for dim in shape]
            levels.append((found, live))
    return levels


def split_increments(
    tensor: torch.Tensor, levels: Sequence[tuple[tuple[int, ...], list[list[bool]]]]
) -> list[torch.Tensor]:
    """The entries that each level adds, flat, in row-major order."""
    if len(levels) == 1:
        return [tensor.reshape(-1)]
    return [tensor[mask] for mask in _increment_masks(levels)]


def join_increments(
    parts: Sequence[torch.Tensor], levels: Sequence[tuple[tuple[int, ...], list[list[bool]]]], dtype: torch.dtype
) -> torch.Tensor:
    """The inverse of ``split_increments``."""
    shape = levels[-1][0]
    if len(levels) == 1:
        return parts[0].reshape(shape)
    whole = torch.empty(shape, dtype=dtype)
    for mask, part in zip(_increment_masks(levels), parts, strict=True):
        whole[mask] = part
    return whole


def _increment_masks(levels: Sequence[tuple[tuple[int, ...], list[list[bool]]]]) -> list[torch.Tensor]:
    masks, before = [], torch.zeros(levels[-1][0], dtype=torch.bool)
    for _, axes in levels:
        mask = torch.ones(levels[-1][0], dtype=torch.bool)
        for axis, live in enumerate(axes):
            mask &= torch.tensor(live).reshape([-1 if a == axis else 1 for a in range(len(axes))])
        masks.append(mask & ~before)
        before = mask
    return masks


# ---- reading what a stranger may have written ------------------------------------------------------------------------


def read_manifest(value: Any, read_leaf: Callable[[str], bytes]) -> Parts:
    """The parts that a manifest describes; sizes and counts are checked before anything is allocated. Raises: FormatError."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise FormatError(f"manifest: not the manifest of a tensor block: 'format' must be {FORMAT!r}")
    version = value.get("version")
    if type(version) is not int or version not in _KEYS:
        raise FormatError(f"manifest: version {version!r} is not known; this program reads up to {VERSION}: upgrade it")
    keys = _KEYS[version]
    if set(value) != keys:
        raise FormatError(f"manifest: expected exactly the keys {sorted(keys)}, got {sorted(map(str, value))[:20]}")
    graph = graph_from_stored(value["graph"])
    tiers = _read_tiers(value["tiers"], graph)
    gates = _read_gates(value["gates"])
    entries = value["tensors"]
    if not isinstance(entries, dict):
        raise FormatError("manifest: tensors must be a mapping by name")
    shapes = expected_shapes(graph, tiers, entries)
    if set(shapes) != set(entries):
        raise FormatError(f"manifest: expected tensors {sorted(shapes)[:20]}, got {sorted(entries)[:20]}")
    plans = {name: _plan_tensor(name, entries[name], shape, graph, tiers) for name, shape in shapes.items()}
    if sum(size for _, _, parts in plans.values() for _, size, _ in parts) > 2 * MAX_PARAMETER_BYTES:
        raise FormatError("manifest: the tensors together are larger than a block may be")
    tensors = {name: _read_tensor(name, plan, read_leaf) for name, plan in plans.items()}
    decoder = _read_decoder(value["decoder"], read_leaf) if version == VERSION else None
    return Parts(graph, tensors, tiers, gates, decoder)


_Levels = list[tuple[tuple[int, ...], list[list[bool]]]]
_Plan = tuple["torch.dtype", _Levels, list[tuple[str, int, list[bytes]]]]


def _plan_tensor(name: str, entry: Any, shape: tuple[int, ...], graph: OpGraph, tiers: Tiers) -> _Plan:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "leaves", "shape"}:
        raise FormatError(f"manifest: tensor {name!r}: expected dtype, leaves and shape")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise FormatError(f"manifest: tensor {name!r}: dtype {str(entry['dtype'])[:40]!r} is not supported")
    if (
        not isinstance(entry["shape"], list)
        or entry["shape"] != list(shape)
        or any(type(s) is not int for s in entry["shape"])
    ):
        raise FormatError(
            f"manifest: tensor {name!r}: the graph gives it shape {list(shape)}, got {entry['shape']!r}"[:400]
        )
    dtype, levels = DTYPES[entry["dtype"]], tier_levels(graph, tiers, name)
    leaves = entry["leaves"]
    if not isinstance(leaves, list) or len(leaves) != len(levels):
        raise FormatError(f"manifest: tensor {name!r}: expected {len(levels)} leaves, one for each tier's increment")
    counts = [math.prod(sizes) for sizes, _ in levels]
    added = [count - before for count, before in zip(counts, [0, *counts], strict=False)]
    parts = [_plan_leaf(name, leaf, count * dtype.itemsize) for leaf, count in zip(leaves, added, strict=True)]
    return dtype, levels, parts


def _plan_leaf(name: str, leaf: Any, size: int) -> tuple[str, int, list[bytes]]:
    keys = {"bytes", "chunks", "link"} if size > CHUNK_BYTES else {"bytes", "link"}
    if not isinstance(leaf, dict) or set(leaf) != keys or not isinstance(leaf["link"], Link):
        raise FormatError(f"manifest: tensor {name!r}: expected a leaf with {', '.join(sorted(keys))}")
    if type(leaf["bytes"]) is not int or leaf["bytes"] != size:
        raise FormatError(f"manifest: tensor {name!r}: expected a leaf of {size} bytes, got {leaf['bytes']!r}"[:300])
    cid, chunks = leaf["link"].cid, leaf.get("chunks", [])
    if parse_cid(cid)[0] != "raw":
        raise FormatError(f"manifest: tensor {name!r}: its leaf must be raw bytes, {cid} is not")
    count = -(-size // CHUNK_BYTES) if size > CHUNK_BYTES else 0
    if (
        not isinstance(chunks, list)
        or len(chunks) != count
        or not all(isinstance(c, bytes) and len(c) == 32 for c in chunks)
    ):
        raise FormatError(f"manifest: tensor {name!r}: expected {count} chunk digests of 32 bytes")
    return cid, size, chunks


def _read_tensor(name: str, plan: _Plan, read_leaf: Callable[[str], bytes]) -> torch.Tensor:
    dtype, levels, leaves = plan
    parts = []
    for cid, size, chunks in leaves:
        data = read_leaf(cid)
        if len(data) != size:
            raise FormatError(f"manifest: tensor {name!r}: leaf {cid} has {len(data)} bytes where {size} were expected")
        if cid_of(data, "raw") != cid or any(
            blake3(c).digest() != d for c, d in zip(_chunks(data), chunks, strict=False)
        ):
            raise FormatError(f"manifest: tensor {name!r}: leaf {cid} does not hold the bytes of its name")
        parts.append(_from_bytes(name, data, dtype))
    return join_increments(parts, levels, dtype)


def _read_decoder(leaf: Any, read_leaf: Callable[[str], bytes]) -> Decoder:
    size = leaf.get("bytes") if isinstance(leaf, dict) else None
    if type(size) is not int or not 0 < size <= MAX_BYTES:
        raise FormatError(f"manifest: decoder: expected a leaf of at most {MAX_BYTES} bytes")
    cid, _, _ = _plan_leaf("decoder", leaf, size)
    data = read_leaf(cid)
    if len(data) != size or cid_of(data, "raw") != cid:
        raise FormatError(f"manifest: decoder: leaf {cid} does not hold the bytes of its name")
    return Decoder.from_bytes(data)


def _read_tiers(value: Any, graph: OpGraph) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict) or not all(isinstance(widths, dict) for widths in value.values()):
        raise FormatError("manifest: tiers must be widths by tier")
    if not value:
        return {}
    try:
        check_tiers(value, graph)
    except InvalidGraph as error:
        raise FormatError(f"manifest: {error}") from error
    return {tier: value[tier] for tier in TIERS if tier in value}


def _read_gates(value: Any) -> tuple[ExitGate, ...]:
    if not isinstance(value, list) or len(value) > MAX_GATES:
        raise FormatError(f"manifest: gates must be a list of at most {MAX_GATES}")
    try:
        gates = tuple(ExitGate.from_value(item) for item in value)
    except InvalidGraph as error:
        raise FormatError(f"manifest: {error}") from error
    if [gate.to_value() for gate in gates] != value:
        raise FormatError("manifest: its gates are not in canonical form")
    return gates


# ---- raw bytes -------------------------------------------------------------------------------------------------------


def _dtype_name(dtype: torch.dtype) -> str:
    return next(name for name, kind in DTYPES.items() if kind == dtype)


def _to_bytes(tensor: torch.Tensor) -> bytes:
    """The numbers as raw little-endian bytes."""
    array = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().reshape(-1, tensor.element_size())
    return bytes((array[:, ::-1] if _IS_BIG_ENDIAN else array).tobytes())


def _from_bytes(name: str, data: bytes, dtype: torch.dtype) -> torch.Tensor:
    if not data:
        return torch.empty(0, dtype=dtype)
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    if dtype == torch.bool and bool((raw > 1).any()):
        raise FormatError(f"manifest: tensor {name!r}: a bool that is neither 0 nor 1")
    if _IS_BIG_ENDIAN:
        raw = raw.reshape(-1, dtype.itemsize).flip(1).reshape(-1)
    return raw.view(dtype)


def _is_big_endian() -> bool:
    import sys

    return sys.byteorder == "big"


_IS_BIG_ENDIAN: Final = _is_big_endian()
