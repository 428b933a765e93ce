"""Op graphs: what a block computes, checked and measured without running anything.

A graph's dimensions carry width symbols; at ``symbols`` it is at its widest. Equal graphs have equal canonical bytes,
whatever order they were written in.

Nouns: *op graph*; see `population.operations.dimensions` and `population.graphs.nodes` for its parts.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from blake3 import blake3

from population.encoding.cbor import encode
from population.errors import FormatError, InvalidGraph
from population.graphs import shape_inference
from population.graphs.nodes import (
    EMPTY,
    Channel,
    Node,
    node_to_value,
    nodes_from_value,
    normalise,
    sized_attributes,
    suggest,
)
from population.graphs.shape_inference import MAX_NODES, MAX_SYMBOLS, Inference
from population.operations import ParameterSpec, get
from population.operations import dimensions as dims
from population.operations.dimensions import Dim, Shape, Widths
from population.operations.registry import Sizes

__all__ = ["Channel", "Dim", "Node", "OpGraph", "ParameterSpec", "Shape", "Sizes"]

_KEYS = ("filters", "inputs", "nodes", "outputs", "parameters", "symbols")


@dataclass(frozen=True, eq=False)
class OpGraph:
    """A graph of operations with named inputs and outputs. Made by ``build`` or ``from_value``, which check it.

    Attributes:
        inputs: channels by name. nodes: each after those it reads.
        outputs: (channel, node), the principal one first.
        symbols: the widest width of every width symbol, by name.
        filters: for an input channel, the nodes it passes through before the others see it.
        free: parameters that belong to no node.
    """

    inputs: tuple[Channel, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, str], ...]
    symbols: Mapping[str, int]
    filters: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)
    free: Mapping[str, ParameterSpec] = field(default_factory=dict)
    inference: Inference = field(kw_only=True, repr=False)

    @staticmethod
    def build(
        inputs: Sequence[Channel],
        nodes: Sequence[Node],
        outputs: Sequence[tuple[str, str]] | Mapping[str, str],
        symbols: Mapping[str, int],
        filters: Mapping[str, Sequence[Node]] = EMPTY,
        free: Mapping[str, ParameterSpec] = EMPTY,
    ) -> OpGraph:
        """The checked graph in its one form.

        Raises: InvalidGraph naming the node, what was expected, what came, and the remedy.
        """
        channels = tuple(sorted(inputs, key=lambda channel: channel.name))
        names = [channel.name for channel in channels]
        if len(set(names)) < len(names):
            raise InvalidGraph("inputs: two channels have the same name: rename one of them")
        _check_symbols(symbols)
        every = [*nodes, *(node for chain in filters.values() for node in chain)]
        if len(every) > MAX_NODES:
            raise InvalidGraph(f"graph: {len(every)} nodes where at most {MAX_NODES} are allowed: split the block")
        kept = {name: tuple(normalise(node) for node in chain) for name, chain in sorted(filters.items()) if chain}
        own = [normalise(node) for node in nodes]
        shape_inference.check_names(own, kept, names)
        kept = {name: shape_inference.arrange(chain, [name], f"filters.{name}") for name, chain in kept.items()}
        arranged = shape_inference.arrange(own, names)
        wanted = _check_outputs(outputs, arranged, free)
        found = shape_inference.infer(
            channels, shape_inference.schedule_of(channels, arranged, kept), symbols, dict(free)
        )
        _check_use(found, wanted, arranged, symbols)
        named = {node.name: node.parameters for node in found.schedule}
        arranged = tuple(_with_parameters(node, named[node.name]) for node in arranged)
        kept = {name: tuple(_with_parameters(n, named[n.name]) for n in chain) for name, chain in kept.items()}
        widest, loose = dict(sorted(symbols.items())), dict(sorted(free.items()))
        return OpGraph(channels, arranged, wanted, widest, kept, loose, inference=found)

    @property
    def parameters(self) -> Mapping[str, ParameterSpec]:
        """What is known of every parameter, in sorted name order."""
        return self.inference.parameters

    @property
    def value_shapes(self) -> Mapping[str, Shape]:
        """The shape of every channel and node, without the samples."""
        return self.inference.shapes

    @property
    def schedule(self) -> tuple[Node, ...]:
        """All nodes, filters' too, in running order; each reads a filtered channel by its filter's last node."""
        return self.inference.schedule

    @cached_property
    def channels_with_gaps(self) -> tuple[str, ...]:
        """The input channels in which NaN may stand for a missing number: all that read them are operations that take it."""
        readers = {channel.name: [n for n in self.schedule if channel.name in n.inputs] for channel in self.inputs}
        return tuple(name for name, nodes in readers.items() if nodes and all(get(n.op).takes_nan for n in nodes))

    @cached_property
    def symbol_names(self) -> tuple[str, ...]:
        """The width symbols, sorted: the columns of a stack's widths."""
        return tuple(sorted(self.symbols))

    def flops(self, widths: Widths) -> int:
        """Counted FLOPs for one sample at these widths; a multiplication and an addition are two."""
        total = 0
        for node in self.schedule:
            reads = [dims.sizes(self.value_shapes[name], widths) for name in node.inputs]
            total += get(node.op).flops(
                reads, dims.sizes(self.value_shapes[node.name], widths), sized_attributes(node, widths)
            )
        return total

    def bytes(self, widths: Widths) -> int:
        """Bytes of all parameters at these widths, four for each number."""
        return sum(4 * math.prod(self.parameter_shape(name, widths)) for name in self.parameters)

    def parameter_shape(self, name: str, widths: Widths) -> tuple[int, ...]:
        """The sizes of a parameter at these widths."""
        return dims.sizes(self.parameters[name].shape, widths)

    def fan_in(self, name: str, widths: Widths) -> int:
        """How many inputs each output of the parameter's node sums over at these widths."""
        return dims.width(self.parameters[name].fan_in, widths)

    def with_widths(self, widths: Widths) -> OpGraph:
        """The same graph at other widest widths, none wider than now; symbols that are not named keep theirs.

        Raises: InvalidGraph for an unknown symbol, or a width outside 1 to the present one.
        """
        new = {**self.symbols, **widths}
        if new == self.symbols:
            return self
        key = tuple(sorted(new.items()))
        if key not in self._narrower:
            for symbol, width in widths.items():
                if symbol not in self.symbols:
                    raise InvalidGraph(f"width symbol {symbol!r} is not among symbols{suggest(symbol, self.symbols)}")
                if not 1 <= width <= self.symbols[symbol]:
                    raise InvalidGraph(f"width of {symbol!r} must lie in 1 to {self.symbols[symbol]}, got {width!r}")
            self._narrower[key] = OpGraph(
                self.inputs, self.nodes, self.outputs, dict(key), self.filters, self.free, inference=self.inference
            )
        return self._narrower[key]

    @cached_property
    def _narrower(self) -> dict[tuple[tuple[str, int], ...], OpGraph]:
        return {}

    def to_value(self) -> dict[str, Any]:
        """The graph as plain values, without what follows from the rest; ``from_value`` reads it back."""
        value: dict[str, Any] = {
            "inputs": {c.name: {"dtype": c.dtype, "shape": list(c.shape)} for c in self.inputs},
            "nodes": [node_to_value(node) for node in self.nodes],
            "outputs": [list(pair) for pair in self.outputs],
            "symbols": dict(self.symbols),
        }
        if self.filters:
            value["filters"] = {name: [node_to_value(node) for node in chain] for name, chain in self.filters.items()}
        if self.free:
            value["parameters"] = {name: _free_to_value(spec) for name, spec in self.free.items()}
        return value

    @staticmethod
    def from_value(value: object) -> OpGraph:
        """The graph of plain values, from a file by hand or from ``to_value``.

        ``outputs`` may be a mapping of channel to node, or a list of such pairs; the first is the principal one.

        Raises: InvalidGraph as ``build``.
        """
        if not isinstance(value, Mapping):
            raise InvalidGraph(f"graph: expected a mapping with {', '.join(_KEYS)}, got {value!r}"[:300])
        for key in value:
            if key not in _KEYS:
                raise InvalidGraph(f"graph: there is no key {str(key)[:80]!r}{suggest(key, _KEYS)}")
        filters = _mapping(value.get("filters"), "filters")
        free = _mapping(value.get("parameters"), "parameters")
        return OpGraph.build(
            _channels(value.get("inputs")),
            nodes_from_value(value.get("nodes", ()), "nodes", MAX_NODES),
            _pairs(value.get("outputs", ())),
            _mapping(value.get("symbols"), "symbols"),
            {name: nodes_from_value(chain, f"filters.{name}", MAX_NODES) for name, chain in filters.items()},
            {name: _free_from_value(item, f"parameters.{name}") for name, item in free.items()},
        )

    @cached_property
    def encoded(self) -> builtins.bytes:
        """The canonical bytes."""
        return encode(self.to_value())

    @cached_property
    def digest(self) -> builtins.bytes:
        """BLAKE3 of the canonical bytes, 32 bytes: the name of the species."""
        return blake3(self.encoded).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpGraph) and (self is other or self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)


def _with_parameters(node: Node, parameters: Mapping[str, str]) -> Node:
    return Node(node.name, node.op, node.inputs, parameters, node.attributes)


def _check_symbols(symbols: Mapping[str, int]) -> None:
    if len(symbols) > MAX_SYMBOLS:
        raise InvalidGraph(f"symbols: {len(symbols)} where at most {MAX_SYMBOLS} are allowed")
    for symbol, width in symbols.items():
        found: object = width  # written by hand, perhaps
        if not dims.is_symbol(symbol):
            raise InvalidGraph(f"symbols: {str(symbol)[:80]!r} is no symbol: use up to 64 letters, digits and '_'")
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= dims.MAX_DIMENSION:
            raise InvalidGraph(
                f"symbols.{symbol}: expected a width from 1 to {dims.MAX_DIMENSION}, got {width!r}"[:300]
            )


def _check_outputs(
    outputs: Sequence[tuple[str, str]] | Mapping[str, str], nodes: Sequence[Node], free: Mapping[str, ParameterSpec]
) -> tuple[tuple[str, str], ...]:
    pairs = tuple((str(c), n) for c, n in (outputs.items() if isinstance(outputs, Mapping) else outputs))
    names = {node.name for node in nodes}
    for channel, node in pairs:
        where = f"output channel {channel[:80]!r}"
        if node not in names:
            raise InvalidGraph(f"{where}: there is no node {str(node)[:80]!r}{suggest(node, names)}")
    if len({channel for channel, _ in pairs}) < len(pairs):
        raise InvalidGraph("outputs: two channels have the same name: rename one of them")
    if not pairs and not free:
        raise InvalidGraph("outputs: a graph needs at least one: name a node, e.g. outputs: {logits: head}")
    return pairs


def _check_use(
    found: Inference, outputs: Sequence[tuple[str, str]], nodes: Sequence[Node], symbols: Mapping[str, int]
) -> None:
    read = {name for node in found.schedule for name in node.inputs} | {node for _, node in outputs}
    for node in nodes:
        if node.name not in read:
            raise InvalidGraph(f"{node.label}: nothing reads it: name it in outputs, or remove it")
    used = set[str]().union(*(dims.symbols_of(shape) for shape in found.shapes.values()))
    used |= set[str]().union(*(dims.symbols_of(spec.shape) for spec in found.parameters.values()))
    for symbol in symbols:
        if symbol not in used:
            raise InvalidGraph(
                f"symbols.{symbol}: no node uses it{suggest(symbol, used)} Remove it, or write out: {symbol}"
            )


# ---- plain values ----------------------------------------------------------------------------------------------------


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidGraph(f"{where}: expected a mapping by name, got {value!r}"[:300])
    return value


def _channels(value: object) -> list[Channel]:
    channels = []
    for name, item in _mapping(value, "inputs").items():
        if not isinstance(item, Mapping) or "shape" not in item or set(item) - {"shape", "dtype"}:
            raise InvalidGraph(f"inputs.{name}: expected {{shape: [...], dtype: float32}}, got {item!r}"[:300])
        channels.append(Channel(name, item["shape"], item.get("dtype", "float32")))
    return channels


def _pairs(value: object) -> list[tuple[str, str]]:
    items = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(items, list | tuple):
        raise InvalidGraph(f"outputs: expected a mapping of channel to node, got {value!r}"[:300])
    pairs = []
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise InvalidGraph(f"outputs: expected a channel and a node, got {item!r}"[:300])
        pairs.append((item[0], item[1]))
    return pairs


def _free_to_value(spec: ParameterSpec) -> dict[str, Any]:
    value: dict[str, Any] = {"shape": [dims.format_dim(dim) for dim in spec.shape]}
    if spec.fan_in != dims.fixed(1):
        value["fan_in"] = dims.format_dim(spec.fan_in)
    return {**value, "role": spec.role} if spec.role != "weight" else value


def _free_from_value(value: object, where: str) -> ParameterSpec:
    if not isinstance(value, Mapping) or "shape" not in value or set(value) - {"shape", "fan_in", "role"}:
        raise InvalidGraph(f"{where}: expected {{shape: [...]}}, got {value!r}"[:300])
    role, shape = value.get("role", "weight"), value["shape"]
    if role not in ("weight", "bias", "scale") or not isinstance(shape, list | tuple):
        raise InvalidGraph(f"{where}: expected a list of sizes, and role weight, bias or scale, got {value!r}"[:300])
    return ParameterSpec(
        tuple(dims.parse_dim(dim) for dim in shape), "float32", dims.parse_dim(value.get("fan_in", 1)), role
    )


def graph_from_stored(value: Any) -> OpGraph:
    """The graph of a stored value, which must be in canonical form. Raises: FormatError, also for an invalid graph."""
    try:
        graph = OpGraph.from_value(value)
    except InvalidGraph as error:
        raise FormatError(f"the stored graph is invalid: {error}") from error
    if encode(graph.to_value()) != encode(value):
        raise FormatError("the stored graph is not in canonical form: it was not written by this program")
    return graph
