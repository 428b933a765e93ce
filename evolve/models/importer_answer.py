"""What comes back from an importer's jail: typed and bounded before any of it is used.

A child may answer anything. Its index is read first, by its own bound; every size in it must add up to what came; what is
computed here, on seeded inputs, is bounded by arithmetic on the graph.

Nouns: *index* (what the answer says of its parts).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from population.blocks.block import TensorBlock
from population.blocks.manifest import PLAIN_VERSION
from population.encoding.cbor import MAX_BYTES, decode
from population.errors import FormatError, InputError
from population.graphs.graph import OpGraph
from population.operations import dimensions as dims
from population.operations import get
from population.pytorch import check_of
from population.stacks.interpreters import run_block

_MAX_INDEX_BYTES: Final = 2 * MAX_BYTES
_MAX_CHANNELS: Final = 1024
_MAX_LEAVES: Final = 1 << 15
#: How much tensors may be beyond the bytes that came: equal ones come once.
_MOST_SHARED, _MOST_SHARED_BYTES = 4, 256 << 20
_MAX_REFUSAL: Final = 20_000


@dataclass(frozen=True)
class Imported:
    """A block that came in.

    Attributes:
        module: what its class is called. largest_difference: between block and module on ``num_inputs`` seeded inputs, 0 of
            none, where the largest output is ``scale``.
    """

    block: TensorBlock
    module: str
    largest_difference: float
    scale: float
    num_inputs: int
    parameters: int = 0


def read_answer(memory: mmap.mmap, size: object, where: str) -> Imported:
    """Returns what came back, copied before it is looked at.

    Raises: FormatError for an answer that is not in order; InputError with what the jailed process says of the module.
    """
    if type(size) is not int or not 8 <= size <= len(memory):
        raise FormatError("its size is impossible")
    index_bytes = int.from_bytes(memory[:8], "little")
    if index_bytes > min(_MAX_INDEX_BYTES, size - 8):
        raise FormatError("its index is larger than the answer, or than an index may be")
    index = decode(memory[8 : 8 + index_bytes], max_bytes=_MAX_INDEX_BYTES)
    if not isinstance(index, dict):
        raise FormatError("expected a map")
    refused = index.get("refused")
    if isinstance(refused, str):
        raise InputError(f"{where}: {_printable(refused, _MAX_REFUSAL)}")
    module = index.get("module")
    if not isinstance(module, str):
        raise FormatError("expected the name of the module")
    leaves, shapes = _sizes(index.get("leaves")), _shapes(index.get("answers"))
    begin = 8 + index_bytes
    answers_at = begin + sum(leaves.values())
    if answers_at + 4 * sum(map(math.prod, shapes.values())) != size:
        raise FormatError("its parts do not add up to its size")
    block = _block(index.get("manifest"), _reader(memory, leaves, begin), answers_at)
    difference, scale, count = _compared(
        where, block, shapes, lambda start, end: memory[answers_at + start : answers_at + end]
    )
    numbers = sum(tensor.numel() for tensor in block.tensors.values())
    return Imported(block, _printable(module, 80), difference, scale, count, numbers)


def _printable(text: str, most: int) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text[:most])


def _sizes(value: Any) -> dict[str, int]:
    """The bytes of each leaf, in their order."""
    if not isinstance(value, list) or len(value) > _MAX_LEAVES:
        raise FormatError(f"expected a list of at most {_MAX_LEAVES:,} leaves")
    found: dict[str, int] = {}
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str) or item[0] in found:
            raise FormatError("expected pairs of a name and a size, each name once")
        if type(item[1]) is not int or item[1] < 0:
            raise FormatError("a size is no whole number from 0 on")
        found[item[0]] = item[1]
    return found


def _shapes(value: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each output that the module gave, in their order."""
    if not isinstance(value, list) or len(value) > _MAX_CHANNELS:
        raise FormatError(f"expected a list of at most {_MAX_CHANNELS:,} outputs")
    found: dict[str, tuple[int, ...]] = {}
    for item in value:
        if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str) or item[0] in found:
            raise FormatError("expected channels with shapes, each once")
        if not isinstance(item[1], list) or not all(type(one) is int and one > 0 for one in item[1]):
            raise FormatError("an output has an impossible shape")
        found[item[0]] = tuple(item[1])
    return found


def _reader(memory: mmap.mmap, leaves: Mapping[str, int], begin: int) -> Callable[[str], bytes]:
    places = {}
    for cid, size in leaves.items():
        places[cid] = begin
        begin += size

    def read(cid: str) -> bytes:
        if cid not in places:
            raise FormatError(f"a leaf is missing: {cid[:80]}")
        return memory[places[cid] : places[cid] + leaves[cid]]

    return read


def _block(manifest: Any, read_leaf: Callable[[str], bytes], came_bytes: int) -> TensorBlock:
    """The block of a manifest, which has neither tiers nor gates nor a decoder, as no module has."""
    if not isinstance(manifest, dict) or manifest.get("version") != PLAIN_VERSION:
        raise FormatError("its manifest is none of a module's")
    if manifest.get("tiers") != {} or manifest.get("gates") != []:
        raise FormatError("its block has tiers or gates, which no module has")
    graph, tensors = manifest.get("graph"), manifest.get("tensors")
    channels = [graph.get(name) for name in ("inputs", "outputs")] if isinstance(graph, dict) else []
    if any(isinstance(part, list | dict) and len(part) > _MAX_CHANNELS for part in channels):
        raise FormatError(f"its block has more than {_MAX_CHANNELS:,} channels")
    if _claimed_bytes(tensors) > _MOST_SHARED * came_bytes + _MOST_SHARED_BYTES:
        raise FormatError("its tensors are far larger than what came")
    block = TensorBlock.from_manifest(manifest, read_leaf)
    if any(get(node.op).is_plugin for node in block.graph.schedule):
        raise FormatError("its block has operations of other packages, which no module becomes")
    return block


def _claimed_bytes(tensors: Any) -> int:
    entries = tensors.values() if isinstance(tensors, dict) else []
    leaves = [leaf for entry in entries if isinstance(entry, dict) for leaf in _listed(entry.get("leaves"))]
    sizes = [leaf.get("bytes") for leaf in leaves if isinstance(leaf, dict)]
    return sum(size for size in sizes if type(size) is int)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _compared(
    where: str, block: TensorBlock, shapes: Mapping[str, tuple[int, ...]], read_answers: Callable[[int, int], bytes]
) -> tuple[float, float, int]:
    """Returns the largest difference from the module's answers, the largest of these, and the number of inputs."""
    check, graph = check_of(block.graph), block.graph
    if not shapes or not check.num_inputs:
        return 0.0, 0.0, 0
    if shapes != {channel: (check.num_inputs, *_sample(graph, node)) for channel, node in graph.outputs}:
        raise FormatError("the outputs have other shapes than the block's")
    starts, position = {}, 0
    for channel, shape in shapes.items():
        starts[channel] = position
        position += 4 * math.prod(shape)
    difference = scale = 0.0
    first = 0
    for inputs in check.pieces(graph):
        with torch.no_grad():
            found = run_block(block, inputs)
        count = len(next(iter(inputs.values()))) if inputs else 0
        for channel, value in found.items():
            size = 4 * math.prod(shapes[channel][1:])
            data = read_answers(starts[channel] + first * size, starts[channel] + (first + count) * size)
            answer = torch.from_numpy(np.frombuffer(data, dtype="<f4").copy()).reshape(value.shape)
            difference = max(difference, _distance(f"{where}: output {channel[:80]!r}", value, answer))
            scale = max(scale, float(answer.nan_to_num(0.0, 0.0, 0.0).abs().max()))
        first += count
    return difference, scale, check.num_inputs


def _sample(graph: OpGraph, node: str) -> tuple[int, ...]:
    return dims.sizes(graph.value_shapes[node], graph.symbols)


def _distance(where: str, value: torch.Tensor, answer: torch.Tensor) -> float:
    """The largest difference; where both are the same infinity, or no number, there is none. Raises: InputError."""
    same = (value == answer) | (value.isnan() & answer.isnan())
    distance = torch.where(same, 0.0, (value - answer).abs())
    if not bool(torch.isfinite(distance).all()):
        raise InputError(
            f"{where}: the module gives numbers where its block gives none, or the other way round: keep what "
            "it computes within the range of float32"
        )
    return float(distance.max())
