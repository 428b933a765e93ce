"""How much each hidden unit matters, and how to put units into another order without changing what is computed.

A unit's importance is the norm of the weights it is made with times the norm of the weights that read it, over every place
where its width symbol occurs (so ties between places are kept).

Source: the product of incoming and outgoing norms, as in path-norm pruning (Neyshabur et al. 2015,
https://arxiv.org/abs/1503.00036, sec. 2); differs in taking one hidden unit's edges only.

Nouns: *importance*, *order* (for each row, which unit comes at each place).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from population.graphs.graph import OpGraph
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.operations import get
from population.operations.dimensions import Dim
from population.stacks.stack import TIER_MARK, Stack


def unit_orders(stack: Stack) -> dict[str, torch.Tensor]:
    """For every hidden width symbol the units of each row, most important first, int64 ``[P, width]``.

    Live units come before dead ones; equals keep their order.
    """
    kept = _symbols_in_order(stack.graph)
    orders = {}
    for symbol in stack.graph.symbol_names:
        if symbol not in kept:
            live = stack.live_axis(((symbol, 1),))
            importance = torch.where(live, _importance(stack, symbol), -1.0)
            orders[symbol] = torch.argsort(importance, dim=1, descending=True, stable=True)
    return orders


def _symbols_in_order(graph: OpGraph) -> set[str]:
    """The symbols whose units keep their places: an output shows them, or an operation tells them apart by place."""
    fixed = [node for _, node in graph.outputs]
    fixed += [name for node in graph.schedule if get(node.op).orders_units for name in node.inputs]
    return set[str]().union(*(dims.symbols_of(graph.value_shapes[name]) for name in fixed))


def _importance(stack: Stack, symbol: str) -> torch.Tensor:
    """The importance of every unit of a symbol, ``[P, width]``."""
    width = stack.graph.symbols[symbol]
    squares = {"out": torch.zeros(stack.num_rows, width), "in": torch.zeros(stack.num_rows, width)}
    met = set()
    for name, spec in stack.graph.parameters.items():
        for axis, (dim, kind) in enumerate(zip(spec.shape, spec.axes, strict=False), 1):
            if kind not in squares:
                continue
            for start, factor in _places(dim, symbol, stack.graph.symbols):
                part = stack.tensors[name].detach().narrow(axis, start, factor * width).square()
                rows = part.movedim(axis, 1).reshape(stack.num_rows, width, -1)
                squares[kind] = squares[kind] + rows.sum(dim=2)
                met.add(kind)
    made, read = (squares[kind].sqrt() if kind in met else torch.ones(stack.num_rows, width) for kind in ("out", "in"))
    return made * read


def _places(dim: Dim, symbol: str, widths: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Yields (first position, entries a unit) of every part of a dimension that a symbol makes."""
    start = 0
    for name, factor in dim:
        if name == symbol:
            yield start, factor
        start += factor * (1 if name is None else widths[name])


def permute_units(stack: Stack, orders: Mapping[str, torch.Tensor]) -> Stack:
    """The stack with units reordered wherever their symbol occurs, in tensors and in state values named after them."""
    if not orders:
        return stack
    tensors = {name: _permute(stack, tensor, name, orders) for name, tensor in stack.tensors.items()}
    state = {}
    for name, value in stack.state.items():
        follows = name.rpartition("/")[2]
        is_moment = follows in stack.tensors and value.shape == stack.tensors[follows].shape
        state[name] = _permute(stack, value, follows, orders) if is_moment else value
    return stack.replace(tensors=tensors, state=state)


def _permute(stack: Stack, tensor: torch.Tensor, name: str, orders: Mapping[str, torch.Tensor]) -> torch.Tensor:
    spec = stack.graph.parameters[name.partition(TIER_MARK)[0]]
    for axis, dim in enumerate(spec.shape, 1):
        if any(symbol in orders for symbol, _ in dim):
            index = _positions(dim, stack, orders)  # [P, size of the axis]
            shape = [stack.num_rows, *(index.shape[1] if a == axis else 1 for a in range(1, tensor.dim()))]
            tensor = tensor.gather(axis, index.reshape(shape).expand_as(tensor))
    return tensor


def _positions(dim: Dim, stack: Stack, orders: Mapping[str, torch.Tensor]) -> torch.Tensor:
    parts, start = [], 0
    for symbol, factor in dim:
        width = 1 if symbol is None else stack.graph.symbols[symbol]
        if symbol is not None and symbol in orders:
            units = orders[symbol][:, :, None] * factor + torch.arange(factor) + start  # [P, width, factor]
            parts.append(units.reshape(stack.num_rows, -1))
        else:
            parts.append(torch.arange(start, start + factor * width).expand(stack.num_rows, -1))
        start += factor * width
    return torch.cat(parts, dim=1)
