"""Tiers: nested slices of one set of tensors.

A tier gives every width symbol a prefix of its units. ``lite`` is a slice of ``pro``, which is a slice of ``ultimate``.
Parameters marked per tier (an output bias, the scale of a norm) have a tensor of their own for each narrower tier,
``name@lite`` beside ``name``.

Nouns: *tier*, *ladder* (widths step by so many units).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from population.errors import InvalidGraph
from population.graphs.graph import OpGraph
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.operations.dimensions import Widths
from population.stacks.stack import TIER_MARK, Stack
from population.stacks.unit_order import permute_units, unit_orders

TIERS: Final = ("lite", "pro", "ultimate")
WIDEST: Final = TIERS[-1]
Tiers = Mapping[str, Mapping[str, int]]

__all__ = [
    "TIERS",
    "WIDEST",
    "Tiers",
    "check_tiers",
    "order_by_importance",
    "slice_stack",
    "tier_widths",
    "with_tier_parameters",
]


def tier_widths(graph_widths: Widths, fractions: Mapping[str, float], ladder: int = 8) -> Tiers:
    """The widths of every tier: its fraction of each symbol's width, on the nearest rung of the ladder.

    At least one rung (or the whole width, where that is less), at most the whole width; a fraction of 1 is exactly that.

    >>> tier_widths({"c": 40}, {"lite": 0.25, "ultimate": 1.0})
    {'lite': {'c': 8}, 'ultimate': {'c': 40}}

    Raises: InvalidGraph for an unknown tier or a fraction outside (0, 1].
    """
    found = {}
    for tier in _in_order(fractions):
        fraction = fractions[tier]
        if not 0 < fraction <= 1:
            raise InvalidGraph(f"tier {tier!r}: its fraction must lie in (0, 1], got {fraction}")
        found[tier] = {symbol: _rung(width, fraction, ladder) for symbol, width in sorted(graph_widths.items())}
    return found


def _rung(width: int, fraction: float, ladder: int) -> int:
    if fraction == 1:
        return width
    return min(width, max(ladder, math.floor(fraction * width / ladder + 0.5) * ladder))


def _in_order(names: Iterable[str]) -> list[str]:
    given = list(names)
    for name in given:
        if name not in TIERS:
            raise InvalidGraph(f"there is no tier {str(name)[:40]!r}: choose from {', '.join(TIERS)}")
    return [tier for tier in TIERS if tier in given]


def check_tiers(tiers: Tiers, graph: OpGraph) -> None:
    """Refuses tiers that are not nested prefixes of a graph's widths, the last of them the whole graph.

    Raises: InvalidGraph naming tier and symbol.
    """
    ordered = _in_order(tiers)
    if WIDEST not in tiers:
        raise InvalidGraph(f"tiers: {WIDEST!r} is missing: it is the whole block")
    below: Mapping[str, int] = dict.fromkeys(graph.symbols, 1)
    for tier in ordered:
        widths = tiers[tier]
        if set(widths) != set(graph.symbols):
            raise InvalidGraph(f"tier {tier!r}: expected widths of {sorted(graph.symbols)}, got {sorted(widths)}")
        for symbol, width in widths.items():
            most = graph.symbols[symbol]
            least = most if tier == WIDEST else below[symbol]
            if type(width) is not int or not least <= width <= most:
                raise InvalidGraph(f"tier {tier!r}: width of {symbol!r} must lie in {least} to {most}, got {width!r}")
        below = widths


def slice_stack(stack: Stack, widths: Widths, tier: str) -> Stack:
    """The stack cut to a tier's widths, with the tier's own parameters; gradients flow back to the whole.

    Rows narrower than the tier stay as they are; symbols that are not named keep their width. State is left behind.

    Raises: InvalidGraph for a width symbol that the graph does not have.
    """
    graph = stack.graph
    narrow = graph.with_widths(
        {symbol: min(width, graph.symbols.get(symbol, width)) for symbol, width in widths.items()}
    )
    tensors = {}
    for name, spec in graph.parameters.items():
        own = stack.tensors.get(f"{name}{TIER_MARK}{tier}", stack.tensors[name])
        tensors[name] = dims.take(own, spec.shape, graph.symbols, narrow.symbols, first_axis=1).contiguous()
    widest = torch.tensor([narrow.symbols[symbol] for symbol in narrow.symbol_names], dtype=torch.int64)
    return Stack(narrow, tensors, torch.minimum(stack.widths, widest))


def with_tier_parameters(stack: Stack, tiers: Sequence[str]) -> Stack:
    """The stack with a tensor ``name@tier`` for every parameter marked per tier and every narrower tier named.

    New ones begin as copies of ``name``; those already there stay. Where nothing is marked, the stack itself.
    """
    marked = [name for name, spec in stack.graph.parameters.items() if spec.per_tier]
    wanted = [tier for tier in _in_order(tiers) if tier != WIDEST]
    added = {f"{name}{TIER_MARK}{tier}": stack.tensors[name].clone() for name in marked for tier in wanted}
    return stack.replace(tensors={**added, **stack.tensors}) if added else stack


def order_by_importance(stack: Stack) -> Stack:
    """The stack with the units of every hidden width symbol permuted, the most important first, dead ones last.

    What a row computes stays the same to rounding. Symbols keep their order that an output channel shows, or whose
    units an operation tells apart by place.
    """
    return permute_units(stack, unit_orders(stack))


def expected_shapes(graph: OpGraph, tiers: Tiers, names: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The sizes of every tensor that a block with these tiers has; a tier's own tensors where ``names`` has them."""
    shapes = {name: graph.parameter_shape(name, graph.symbols) for name in graph.parameters}
    for name, spec in graph.parameters.items():
        for tier in tiers:
            own = f"{name}{TIER_MARK}{tier}"
            if spec.per_tier and tier != WIDEST and own in names:
                shapes[own] = graph.parameter_shape(name, tiers[tier])
    return shapes
