"""Which widths of a graph may differ: hidden ones get a symbol each; those that must be equal share one.

Every layer's output begins with a symbol of its own. Shapes are inferred as the graph does it; where two must be equal
(the sides of a sum, the uses of a shared tensor) their symbols become one; where symbols cannot stay (a reshape across
them, a window, an output of the block) they become numbers; until all fits.

Nouns: *tie* (two symbols that are one).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from population.errors import InvalidGraph
from population.graphs.graph import OpGraph
from population.graphs.nodes import Channel, Node, full_attributes, normalise
from population.operations import dimensions as dims
from population.operations import get
from population.operations.dimensions import Dim, Shape
from population.pytorch.translation.arrangement import Sizes
from population.pytorch.translation.drafts import Draft

#: The attributes of an operation that say how many units it makes, or has inside.
WIDTHS: Final[Mapping[str, tuple[str, ...]]] = {
    "linear": ("out",), "conv1d": ("out",), "conv2d": ("out",), "embedding": ("out",), "gru": ("out",),
    "multi_head_attention": ("out", "heads"),
}  # fmt: skip
_TIED: Final = ("add", "multiply")


class _Again(Exception):
    """Symbols were tied or became numbers: begin again."""


@dataclass
class _Symbols:
    """What is known of symbols: their widths, which are one, which are numbers."""

    widths: dict[str, int] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)

    def root(self, symbol: str) -> str:
        """The symbol that stands for all that are tied to it."""
        while symbol in self.parent:
            symbol = self.parent[symbol]
        return symbol

    def dim(self, symbol: str) -> Dim:
        """The dimension of a symbol: itself, or its width where that is a number."""
        root = self.root(symbol)
        return dims.fixed(self.widths[root]) if root in self.numbers else ((root, 1),)

    def fix(self, *shapes: Dim) -> bool:
        """Makes the symbols in these dimensions numbers; returns whether there were any."""
        found = {symbol for dim in shapes for symbol, _ in dim if symbol is not None}
        self.numbers |= found
        return bool(found)

    def unify(self, one: Dim, other: Dim) -> None:
        """Makes two dimensions equal. Raises: _Again where something changed; InvalidGraph where nothing can."""
        if one == other:
            return
        if [factor for _, factor in one] == [factor for _, factor in other] and self._tie(one, other):
            raise _Again
        if self.fix(one, other):
            raise _Again
        raise InvalidGraph(f"{dims.format_dim(one)} and {dims.format_dim(other)} differ")

    def _tie(self, one: Dim, other: Dim) -> bool:
        """Ties symbols part by part; False where a symbol meets a number."""
        pairs = [(a, b) for (a, _), (b, _) in zip(one, other, strict=True) if a != b]
        if any(a is None or b is None or self.widths[a] != self.widths[b] for a, b in pairs):
            return False
        for a, b in pairs:
            assert a is not None
            assert b is not None
            first, second = self.root(a), self.root(b)
            if first != second:
                self.parent[second] = first
        return True


def block_graph(channels: Sequence[Channel], drafts: Sequence[Draft], outputs: Sequence[tuple[str, str]]) -> OpGraph:
    """The graph of some drafts, hidden widths as symbols. Raises: InvalidGraph."""
    symbols = _Symbols()
    own = {
        (draft.name, attribute): _symbol(draft, attribute, symbols)
        for draft in drafts
        for attribute in WIDTHS.get(draft.op, ())
    }
    while True:
        try:
            nodes = _nodes(channels, drafts, outputs, symbols, own)
            break
        except _Again:
            continue
    used = {symbols.root(symbol) for symbol in own.values()} - symbols.numbers
    return OpGraph.build(channels, nodes, outputs, {symbol: symbols.widths[symbol] for symbol in sorted(used)})


def _symbol(draft: Draft, attribute: str, symbols: _Symbols) -> str:
    base = re.sub(r"[^A-Za-z0-9_]", "_", draft.name if attribute == "out" else f"{draft.name}_{attribute}")[:56]
    base = f"w{base}" if base[0].isdigit() else base
    name, count = base, 1
    while name in symbols.widths:
        name, count = f"{base}_{count}", count + 1
    symbols.widths[name] = int(draft.attributes[attribute])
    return name


def _nodes(
    channels: Sequence[Channel],
    drafts: Sequence[Draft],
    outputs: Sequence[tuple[str, str]],
    symbols: _Symbols,
    own: Mapping[tuple[str, str], str],
) -> list[Node]:
    """The nodes, with symbols as they are now. Raises: _Again where a symbol must give way."""
    shapes: dict[str, Shape] = {channel.name: tuple(map(dims.fixed, channel.shape)) for channel in channels}
    parameters: dict[str, Shape] = {}
    nodes = []
    for draft in drafts:
        reads = [shapes[name] for name in draft.inputs]
        if draft.op in _TIED:
            for shape in reads[1:]:
                for one, other in zip(reads[0], shape, strict=True):
                    symbols.unify(one, other)
        attributes = _attributes(draft, reads, symbols, own)
        node = normalise(Node(draft.name, draft.op, tuple(draft.inputs), draft.parameters, attributes))
        try:
            found = get(draft.op).infer(reads, full_attributes(node))
        except InvalidGraph as error:
            if symbols.fix(*(dim for shape in reads for dim in shape)):
                raise _Again from None
            raise InvalidGraph(f"{node.label}: {error}") from error
        for role, name in draft.parameters.items():
            wanted = found.parameters[role].shape
            for one, other in zip(parameters.setdefault(name, wanted), wanted, strict=True):
                symbols.unify(one, other)
        shapes[draft.name] = found.shape
        nodes.append(node)
    if symbols.fix(*(dim for _, name in outputs for dim in shapes[name])):
        raise _Again
    return nodes


def _attributes(
    draft: Draft, reads: Sequence[Shape], symbols: _Symbols, own: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    attributes = dict(draft.attributes)
    for attribute in WIDTHS.get(draft.op, ()):
        attributes[attribute] = dims.format_dim(symbols.dim(own[draft.name, attribute]))
    if draft.op == "reshape":
        shape = _reshaped(reads[0], tuple(attributes["shape"]), symbols)
        attributes["shape"] = [dims.format_dim(dim) for dim in shape]
    if draft.op == "narrow" and symbols.fix(reads[0][attributes["axis"]]):
        raise _Again
    return attributes


def _reshaped(shape: Shape, wanted: Sizes, symbols: _Symbols) -> Shape:
    """The dimensions of a reshape: axes are split, joined or kept in groups. Raises: _Again."""
    found: list[Dim] = []
    for reads, makes in _groups(dims.sizes(shape, symbols.widths), wanted):
        group = tuple(shape[axis] for axis in reads)
        sizes = tuple(wanted[axis] for axis in makes)
        large = [place for place, size in enumerate(sizes) if size > 1]
        if not dims.symbols_of(group):
            found += [dims.fixed(size) for size in sizes]
            continue
        try:
            joined = dims.flatten(group)
        except InvalidGraph:
            symbols.fix(*group)
            raise _Again from None
        rest = math.prod(sizes[place] for place in large[1:])
        if large and any(factor % rest for _, factor in joined):
            symbols.fix(*group)
            raise _Again
        first = dims.normal((symbol, factor // rest) for symbol, factor in joined)
        place = large[0] if large else len(sizes) - 1
        found += [first if at == place else dims.fixed(size) for at, size in enumerate(sizes)]
    return tuple(found)


def _groups(reads: Sizes, makes: Sizes) -> list[tuple[list[int], list[int]]]:
    """Runs of axes on both sides that hold the same number of entries, as short as can be."""
    groups: list[tuple[list[int], list[int]]] = []
    left, right = 0, 0
    while left < len(reads) or right < len(makes):
        ours, theirs = [left] if left < len(reads) else [], [right] if right < len(makes) else []
        left, right = left + len(ours), right + len(theirs)
        while (has := math.prod(reads[axis] for axis in ours)) != (asks := math.prod(makes[axis] for axis in theirs)):
            if has < asks:
                ours.append(left)
                left += 1
            else:
                theirs.append(right)
                right += 1
        groups.append((ours, theirs))
    return groups
