"""What running a graph takes, by arithmetic before anything runs: bytes of values at once, and work.

Nouns: none beyond those of graphs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from population.graphs.graph import OpGraph
from population.graphs.nodes import Node, sized_attributes
from population.operations import dimensions as dims
from population.operations import get
from population.operations.registry import Sizes
from population.stacks.interpreters import plan_of

#: The most bytes of values in memory at once where samples are computed together.
AT_ONCE_BYTES: Final = 256 << 20
#: What a call of an operation costs beside its arithmetic, and what a place of a sequence does that is gone through one by
#: one, in FLOPs that would take as long.
_CALL_WORK: Final = 100_000
_STEP_WORK: Final = 50_000


@lru_cache(maxsize=64)
def sample_bytes(graph: OpGraph) -> int:
    """The peak of bytes of values while one sample is computed with all its outputs."""
    shapes = {name: dims.sizes(shape, graph.symbols) for name, shape in graph.value_shapes.items()}
    live = {channel.name: 4 * math.prod(channel.shape) for channel in graph.inputs}
    most = sum(live.values())
    for node, done in plan_of(graph, tuple(channel for channel, _ in graph.outputs)):
        made = 4 * math.prod(shapes[node.name])
        most = max(
            most, sum(live.values()) + 2 * made + _inner_bytes(node, [shapes[name] for name in node.inputs], graph)
        )
        live[node.name] = made
        for name in done:
            live.pop(name, None)
    return most


@lru_cache(maxsize=64)
def sample_work(graph: OpGraph) -> int:
    """About how many FLOPs one sample takes, with what moving values and calling operations cost counted as FLOPs too."""
    entries = sum(math.prod(dims.sizes(shape, graph.symbols)) for shape in graph.value_shapes.values())
    steps = sum(
        graph.value_shapes[n.inputs[0]][-1][0][1] for n in graph.schedule if n.op == "gru" and len(n.inputs) > 1
    )
    return graph.flops(graph.symbols) + 4 * entries + _CALL_WORK * len(graph.schedule) + _STEP_WORK * steps


def samples_at_once(graph: OpGraph, most: int, most_bytes: int = AT_ONCE_BYTES) -> int:
    """How many samples, 1 to ``most``, may be computed together with values of at most ``most_bytes``."""
    return max(1, min(most, most_bytes // max(1, sample_bytes(graph))))


def _inner_bytes(node: Node, inputs: Sequence[Sizes], graph: OpGraph) -> int:
    """What an operation holds between its input and its value: scores of pairs of places, gates of all places."""
    attributes = sized_attributes(node, graph.symbols)
    if node.op == "multi_head_attention":
        places, heads = inputs[0][1], int(attributes["heads"])  # type: ignore[arg-type]
        return 8 * (heads + 1) * places * places + 16 * places * heads * int(attributes["head_width"])  # type: ignore[arg-type]
    if node.op == "gru":
        return 28 * inputs[0][1] * dims.width(dims.parse_dim(node.attributes["out"]), graph.symbols)
    return 4 * max(map(math.prod, inputs), default=0) if get(node.op).is_plugin else 0
