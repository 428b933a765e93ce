"""Shapes, parameters and order of an op graph, found without running anything; refuses what cannot or must not compute.

Nouns: *schedule* (all nodes in the order they run, filters first), *inference* (what is known of a graph before it runs).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from population.errors import InvalidGraph
from population.graphs.nodes import MAX_RANK, Channel, Node, full_attributes, operation_of, suggest
from population.operations import dimensions as dims
from population.operations.dimensions import Shape
from population.operations.registry import Inferred, ParameterSpec

MAX_NODES: Final = 4096
MAX_DEPTH: Final = 1024
MAX_PARAMETER_BYTES: Final = 2**31
MAX_VALUE_ENTRIES: Final = 2**26
MAX_SYMBOLS: Final = 1024


@dataclass(frozen=True)
class Inference:
    """What is known of a graph before it runs.

    Attributes:
        schedule: nodes of filters, then the others, in order, each reading filtered channels by the filter's last node.
        shapes: of every channel and node. parameters: by name, sorted.
    """

    schedule: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    parameters: Mapping[str, ParameterSpec]


def arrange(nodes: Sequence[Node], known: Sequence[str], where: str = "graph") -> tuple[Node, ...]:
    """The nodes, each after those it reads, and by name where the order is free. Raises: InvalidGraph for a cycle."""
    names, channels = {node.name for node in nodes}, set(known)
    readers: dict[str, list[Node]] = {}
    waiting: dict[str, int] = {}
    for node in nodes:
        for name in node.inputs:
            if name not in names and name not in channels:
                raise InvalidGraph(
                    f"{node.label}: reads {name[:80]!r}, which is not there{suggest(name, [*known, *names])}"
                )
        reads = {name for name in node.inputs if name in names}
        waiting[node.name] = len(reads)
        for name in reads:
            readers.setdefault(name, []).append(node)
    by_name = {node.name: node for node in nodes}
    ready = [name for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    ordered: list[Node] = []
    while ready:
        node = by_name[heapq.heappop(ready)]
        ordered.append(node)
        for reader in readers.get(node.name, ()):
            waiting[reader.name] -= 1
            if waiting[reader.name] == 0:
                heapq.heappush(ready, reader.name)
    if len(ordered) < len(nodes):
        stuck = sorted(name for name, count in waiting.items() if count > 0)
        raise InvalidGraph(
            f"{where}: nodes {', '.join(stuck[:8])} read each other in a circle: take one of the edges out"
        )
    return tuple(ordered)


def schedule_of(
    inputs: Sequence[Channel], nodes: Sequence[Node], filters: Mapping[str, Sequence[Node]]
) -> tuple[Node, ...]:
    """All nodes in running order; readers of a filtered channel read its filter's last node instead."""
    channels = {channel.name for channel in inputs}
    last = {channel: chain[-1].name for channel, chain in filters.items()}
    for channel, chain in filters.items():
        if channel not in channels:
            raise InvalidGraph(
                f"filters.{str(channel)[:80]}: there is no such input channel{suggest(channel, channels)}"
            )
        inside = {node.name for node in chain}
        for node in chain:
            outside = sorted(set(node.inputs) - inside - {channel})
            if outside:
                raise InvalidGraph(
                    f"filters.{channel}: {node.label}: a filter reads its own channel only, got {outside[0]!r}"
                )
    rewired = [replace(node, inputs=tuple(last.get(name, name) for name in node.inputs)) for node in nodes]
    return (*(node for channel in sorted(filters) for node in filters[channel]), *rewired)


def infer(
    inputs: Sequence[Channel], schedule: Sequence[Node], symbols: Mapping[str, int], free: Mapping[str, ParameterSpec]
) -> Inference:
    """The shapes and parameters of a scheduled graph. Raises: InvalidGraph."""
    shapes: dict[str, Shape] = {channel.name: tuple(dims.fixed(s) for s in channel.shape) for channel in inputs}
    parameters = dict(free)
    depth = {channel.name: 0 for channel in inputs}
    for name, spec in free.items():
        _check_shape(spec.shape, symbols, f"parameter {name!r}", MAX_PARAMETER_BYTES // 4)
    for channel in inputs:
        _check_shape(shapes[channel.name], symbols, f"input channel {channel.name!r}")
    named = []
    for node in schedule:
        found = _infer_node(node, [shapes[name] for name in node.inputs])
        _check_shape(found.shape, symbols, node.label)
        depth[node.name] = 1 + max((depth[name] for name in node.inputs), default=0)
        if depth[node.name] > MAX_DEPTH:
            raise InvalidGraph(
                f"{node.label}: lies {depth[node.name]} nodes deep where at most {MAX_DEPTH} are allowed"
            )
        shapes[node.name] = found.shape
        named.append(_name_parameters(node, found, symbols, parameters))
    total = sum(4 * math.prod(dims.sizes(spec.shape, symbols)) for spec in parameters.values())
    if total > MAX_PARAMETER_BYTES:
        raise InvalidGraph(
            f"graph: {total} bytes of parameters where at most {MAX_PARAMETER_BYTES} are allowed: lower widths"
        )
    return Inference(tuple(named), shapes, dict(sorted(parameters.items())))


def _infer_node(node: Node, shapes: Sequence[Shape]) -> Inferred:
    try:
        return operation_of(node).infer(shapes, full_attributes(node))
    except InvalidGraph as error:
        raise InvalidGraph(f"{node.label}: {error}") from error


def _check_shape(shape: Shape, symbols: Mapping[str, int], where: str, most: int = MAX_VALUE_ENTRIES) -> None:
    for symbol in sorted(dims.symbols_of(shape) - set(symbols)):
        raise InvalidGraph(f"{where}: width symbol {symbol!r} is not among symbols{suggest(symbol, symbols)}")
    if len(shape) > MAX_RANK:
        raise InvalidGraph(f"{where}: {len(shape)} axes where at most {MAX_RANK} are allowed")
    sizes = dims.sizes(shape, symbols)
    if any(size > dims.MAX_DIMENSION for size in sizes):
        raise InvalidGraph(
            f"{where}: an axis of {max(sizes)} where at most {dims.MAX_DIMENSION} are allowed: lower its width"
        )
    if math.prod(sizes) > most:
        raise InvalidGraph(f"{where}: {math.prod(sizes)} numbers where at most {most} are allowed: make it smaller")


def _name_parameters(
    node: Node, found: Inferred, symbols: Mapping[str, int], parameters: dict[str, ParameterSpec]
) -> Node:
    """Adds the node's parameters to those known and returns the node with a name for every role."""
    for what, roles in (("parameters", node.parameters), ("per_tier", node.per_tier)):
        for role in roles:
            if role not in found.parameters:
                known = suggest(role, found.parameters)
                raise InvalidGraph(f"{node.label}: {what}: it has no parameter with role {role[:80]!r}{known}")
    names = {}
    for role, spec in sorted(found.parameters.items()):
        name = names[role] = node.parameters.get(role, f"{node.name}.{role}")
        spec = replace(spec, per_tier=role in node.per_tier)
        _check_shape(spec.shape, symbols, f"parameter {name!r}", MAX_PARAMETER_BYTES // 4)
        other = parameters.setdefault(name, spec)
        if (other.shape, other.per_tier) != (spec.shape, spec.per_tier):
            raise InvalidGraph(
                f"{node.label}: shares parameter {name!r} of shape {dims.format_shape(other.shape)}, but needs "
                f"{dims.format_shape(spec.shape)} (and the same per_tier): give it a name of its own"
            )
    return replace(node, parameters=names)


def check_names(nodes: Sequence[Node], filters: Mapping[str, Sequence[Node]], channels: Sequence[str]) -> None:
    """Refuses two nodes or channels of one name. Raises: InvalidGraph."""
    seen = set(channels)
    for node in [*nodes, *(node for chain in filters.values() for node in chain)]:
        if node.name in seen:
            raise InvalidGraph(f"node {node.name!r}: another node or channel has this name already: rename one of them")
        seen.add(node.name)
