"""The two interpreters of op graphs: one runs a whole stack, the other, slow and obvious, a single block. They agree.

Shapes: P rows of a stack, N samples. Values of a stack are ``[P, *shape, N]`` (``[1, *shape, N]`` while all rows share
them), values of a block ``[N, *shape]``. Computation is in float32.

Nouns: none beyond those of `population.graphs.graph` and `population.stacks.stack`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from population.errors import InputError
from population.graphs.graph import OpGraph
from population.graphs.nodes import Node, inner_dimensions, sized_attributes, suggest
from population.lazy_torch import functional, torch
from population.operations import Call, get
from population.operations import dimensions as dims
from population.operations.registry import Attributes, Sizes
from population.stacks.stack import Stack

SAMPLE_STEP: Final = 16


@functools.lru_cache(maxsize=256)
def plan_of(graph: OpGraph, outputs: tuple[str, ...]) -> tuple[tuple[Node, frozenset[str]], ...]:
    """The nodes that these output channels need, in order, each with the values that nothing reads afterwards."""
    nodes = dict(graph.outputs)
    needed = {nodes[channel] for channel in outputs}
    kept = frozenset(needed)
    chosen = []
    for node in reversed(graph.schedule):
        if node.name in needed:
            last_read = frozenset(node.inputs) - needed
            needed |= set(node.inputs)
            chosen.append((node, last_read - kept))
    return tuple(reversed(chosen))


def run_stack(
    stack: Stack, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """The wanted output channels (None: all) of every row, ``[P, *shape, N]``; differentiable.

    Only what these channels need is computed. A row's bits depend on that row and its inputs alone.

    Args:
        inputs: by channel, ``[1 or P, *shape, N]``.

    Raises: InputError for a channel that is missing or has another shape, or an output that does not exist.
    """
    graph = stack.graph
    wanted = _wanted(graph, outputs)
    steps = plan_of(graph, wanted)
    num_samples = _num_samples(graph, steps, inputs, axis=-1)
    values = {
        channel.name: _prepare(inputs[channel.name], channel.shape, stack.num_rows, channel.name)
        for channel in graph.inputs
        if _is_read(channel.name, steps)
    }
    is_narrow = stack.is_narrow
    for node, done in steps:
        values[node.name] = _run_node(stack, node, values, is_narrow)
        for name in done:
            del values[name]
    nodes = dict(graph.outputs)
    found = {channel: values[nodes[channel]] for channel in wanted}
    return {
        channel: value.expand(stack.num_rows, *value.shape[1:])[..., :num_samples] for channel, value in found.items()
    }


def _run_node(stack: Stack, node: Node, values: Mapping[str, torch.Tensor], is_narrow: bool) -> torch.Tensor:
    graph, operation = stack.graph, get(node.op)
    attributes, sizes = _constants(node.name, graph)
    call = Call(
        inputs=tuple(values[name] for name in node.inputs),
        parameters={role: stack.tensors[name] for role, name in node.parameters.items()},
        attributes=attributes,
        sizes=sizes,
        masks=tuple(_mask(stack, name) if is_narrow else None for name in node.inputs),
        live=_live_sizes(stack, node) if is_narrow else {},
    )
    result = operation.run(call)
    mask = _mask(stack, node.name) if is_narrow and not operation.keeps_zero else None
    return result if mask is None else torch.where(mask, result, 0.0)


@functools.lru_cache(maxsize=4096)
def _constants(name: str, graph: OpGraph) -> tuple[Attributes, Sizes]:
    """The attributes of a node and the sizes of its value, both at the widest."""
    attributes = next(sized_attributes(node, graph.symbols) for node in graph.schedule if node.name == name)
    return attributes, dims.sizes(graph.value_shapes[name], graph.symbols)


def _live_sizes(stack: Stack, node: Node) -> dict[str, torch.Tensor]:
    return {name: stack.live_axis(dim).sum(dim=1) for name, dim in inner_dimensions(node).items()}


def _mask(stack: Stack, name: str) -> torch.Tensor | None:
    shape = stack.graph.value_shapes[name]
    return stack.live_mask(shape)[..., None] if dims.symbols_of(shape) else None


class Runnable(Protocol):
    """What ``run_block`` runs: a tensor block."""

    def graph_of(self, tier: str) -> OpGraph:
        """The graph at a tier's widths. Raises: InputError for a tier that is not there."""

    def tensors_of(self, tier: str) -> dict[str, torch.Tensor]:
        """The tensors of a tier at its widths, by parameter name."""


def run_block(
    block: Runnable,
    inputs: Mapping[str, torch.Tensor],
    tier: str = "ultimate",
    outputs: Sequence[str] | None = None,
) -> dict[str, torch.Tensor]:
    """The wanted output channels (None: all) of a block at a tier, ``[N, *shape]``: slow and obvious.

    Raises: InputError as ``run_stack``, and for a tier the block does not have.
    """
    graph = block.graph_of(tier)
    tensors = {name: tensor.to(torch.float32) for name, tensor in block.tensors_of(tier).items()}
    wanted = _wanted(graph, outputs)
    steps = plan_of(graph, wanted)
    _num_samples(graph, steps, inputs, axis=0)
    values = {}
    for channel in graph.inputs:
        if _is_read(channel.name, steps):
            value = inputs[channel.name]
            if tuple(value.shape[1:]) != channel.shape:
                raise _wrong_shape(channel.name, ["N", *channel.shape], value)
            values[channel.name] = value.to(torch.float32)
    for node, done in steps:
        call = Call(
            tuple(values[name] for name in node.inputs),
            {role: tensors[name] for role, name in node.parameters.items()},
            sized_attributes(node, graph.symbols),
            dims.sizes(graph.value_shapes[node.name], graph.symbols),
        )
        values[node.name] = get(node.op).run_single(call)
        for name in done:
            del values[name]
    nodes = dict(graph.outputs)
    return {channel: values[nodes[channel]] for channel in wanted}


# ---- what was asked and given ----------------------------------------------------------------------------------------


def _wanted(graph: OpGraph, outputs: Sequence[str] | None) -> tuple[str, ...]:
    known = [channel for channel, _ in graph.outputs]
    wanted = tuple(known if outputs is None else dict.fromkeys(outputs))
    for channel in wanted:
        if channel not in known:
            raise InputError(f"there is no output channel {str(channel)[:80]!r}{suggest(channel, known)}")
    return wanted


def _is_read(channel: str, steps: Sequence[tuple[Node, frozenset[str]]]) -> bool:
    return any(channel in node.inputs for node, _ in steps)


def _num_samples(
    graph: OpGraph, steps: Sequence[tuple[Node, frozenset[str]]], inputs: Mapping[str, torch.Tensor], axis: int
) -> int:
    names = [channel.name for channel in graph.inputs if _is_read(channel.name, steps)]
    for name in names:
        if name not in inputs:
            raise InputError(f"input channel {name!r} is missing{suggest(name, inputs)}")
        if inputs[name].dim() == 0:
            raise InputError(f"input channel {name!r}: expected an axis of samples, got a single number")
    counts = {name: int(inputs[name].shape[axis]) for name in names}
    if len(set(counts.values())) > 1:
        raise InputError(f"input channels must have the same number of samples, got {counts}")
    return next(iter(counts.values()), 0)


def _prepare(value: torch.Tensor, shape: tuple[int, ...], num_rows: int, name: str) -> torch.Tensor:
    if value.dim() != len(shape) + 2 or tuple(value.shape[1:-1]) != shape or value.shape[0] not in (1, num_rows):
        raise _wrong_shape(name, [f"1 or {num_rows}", *shape, "N"], value)
    missing = -value.shape[-1] % SAMPLE_STEP
    value = value.to(torch.float32)
    return functional.pad(value, (0, missing)) if missing else value


def _wrong_shape(name: str, expected: Sequence[object], value: torch.Tensor) -> InputError:
    wanted = ", ".join(str(size) for size in expected)
    return InputError(f"input channel {name!r}: expected shape [{wanted}], got {list(value.shape)}")
