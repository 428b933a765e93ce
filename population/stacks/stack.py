"""Stacks: individuals that share an op graph, as one record of stacked tensors.

Shapes: P rows, S width symbols. Rows of less than the widest widths keep their padded places at exactly zero.

Nouns: *stack*, *row* (one individual of it), *live* entries (those that a row's own widths use).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as _replace
from functools import cached_property
from typing import Any

from population.graphs.graph import OpGraph
from population.lazy_torch import torch
from population.operations import ParameterSpec
from population.operations import dimensions as dims
from population.operations.dimensions import Widths, fixed

TIER_MARK = "@"
#: numbers of a state that a row does not have (rows born by other operators): told by NaN in all of its places.
ABSENT = float("nan")


@dataclass(frozen=True)
class Stack:
    """Individuals of one species.

    Attributes:
        tensors: by parameter name, ``[P, *padded shape]`` float32; ``name@tier`` beside ``name`` for a parameter of which
            tiers have their own.
        widths: live widths, int64 ``[P, S]``, symbols sorted.
        state: values that strategies and operators carry with a row, ``[P, ...]``. A row that lacks one of them has NaN in
            all of its places; such places are no part of its bytes.
    """

    graph: OpGraph
    tensors: Mapping[str, torch.Tensor]
    widths: torch.Tensor
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def num_rows(self) -> int:
        """How many individuals there are."""
        return int(self.widths.shape[0])

    @staticmethod
    def zeros(graph: OpGraph, num_rows: int, widths: Sequence[Widths] | None = None) -> Stack:
        """Rows of zeros; ``widths`` by row, symbols that are not named being at their widest."""
        names, rows = graph.symbol_names, [{}] * num_rows if widths is None else widths
        if len(rows) != num_rows:
            raise ValueError(f"widths: expected one mapping for each of {num_rows} rows, got {len(rows)}")
        for row in rows:
            graph.with_widths(row)
        table = [[row.get(name, graph.symbols[name]) for name in names] for row in rows]
        tensors = {
            name: torch.zeros(num_rows, *graph.parameter_shape(name, graph.symbols)) for name in graph.parameters
        }
        return Stack(graph, tensors, torch.tensor(table, dtype=torch.int64).reshape(num_rows, len(names)))

    def gather(self, index: Sequence[int] | torch.Tensor) -> Stack:
        """The rows at these positions, in this order, repeated where named twice; new memory."""
        chosen = torch.as_tensor(index, dtype=torch.int64)
        return _replace(
            self,
            tensors={name: tensor.index_select(0, chosen) for name, tensor in self.tensors.items()},
            widths=self.widths.index_select(0, chosen),
            state={name: tensor.index_select(0, chosen) for name, tensor in self.state.items()},
        )

    @staticmethod
    def concat(stacks: Sequence[Stack]) -> Stack:
        """All rows of stacks of one species, in order; new memory.

        A state value that some of them lack is absent (NaN) in their rows.

        Raises: ValueError where graphs or names of tensors differ.
        """
        if not stacks:
            raise ValueError("concat: expected at least one stack")
        first = stacks[0]
        for other in stacks[1:]:
            if other.graph != first.graph or other.tensors.keys() != first.tensors.keys():
                raise ValueError(
                    f"concat: stacks of one species have the same graph and tensors, got {sorted(first.tensors)} and "
                    f"{sorted(other.tensors)}: give all of them the same tier parameters first"
                )
        return Stack(
            first.graph,
            {name: torch.cat([stack.tensors[name] for stack in stacks]) for name in first.tensors},
            torch.cat([stack.widths for stack in stacks]),
            _concat_states(stacks),
        )

    def replace(self, **changes: Any) -> Stack:
        """The stack with some fields changed; checked again."""
        return _replace(self, **changes)

    def widths_of(self, row: int) -> dict[str, int]:
        """The live widths of a row by symbol."""
        return dict(zip(self.graph.symbol_names, self.widths[row].tolist(), strict=True))

    def state_or(self, name: str, default: float, shape: Sequence[int] = ()) -> torch.Tensor:
        """A state value ``[P, *shape]``, rows that lack it at ``default``; independent of what other rows have."""
        found = self.state.get(name)
        if found is None:
            return torch.full((self.num_rows, *shape), default, dtype=torch.float32)
        absent = absent_rows(found).reshape(-1, *(1,) * (found.dim() - 1))
        return torch.where(absent, torch.tensor(default, dtype=found.dtype), found)

    @cached_property
    def is_narrow(self) -> bool:
        """Whether some row is narrower than the widest."""
        widest = torch.tensor([self.graph.symbols[name] for name in self.graph.symbol_names], dtype=torch.int64)
        return bool((self.widths < widest).any())

    def spec_of(self, name: str) -> ParameterSpec:
        """What is known of a tensor, a tier's own included."""
        return self.graph.parameters[name.partition(TIER_MARK)[0]]

    def live_axis(self, dim: dims.Dim) -> torch.Tensor:
        """Which positions of a dimension each row uses, bool ``[P, width]``."""
        columns = {name: column for column, name in enumerate(self.graph.symbol_names)}
        parts = []
        for symbol, factor in dim:
            if symbol is None:
                parts.append(torch.ones(self.num_rows, factor, dtype=torch.bool))
                continue
            units = torch.arange(self.graph.symbols[symbol]) < self.widths[:, columns[symbol], None]
            parts.append(units.repeat_interleave(factor, dim=1))
        return torch.cat(parts, dim=1)

    def live_mask(self, shape: dims.Shape) -> torch.Tensor:
        """Which entries of a value each row uses, bool, broadcastable to ``[P, *shape]``."""
        mask = torch.ones(self.num_rows, *(1,) * len(shape), dtype=torch.bool)
        for axis, dim in enumerate(shape, 1):
            if dims.constant(dim) is None:
                live = self.live_axis(dim)
                mask = mask & live.reshape(
                    self.num_rows, *(live.shape[1] if a == axis else 1 for a in range(1, len(shape) + 1))
                )
        return mask

    def live_masks(self) -> dict[str, torch.Tensor]:
        """Which entries of every tensor are live, bool ``[P, *padded shape]``; empty where all are."""
        if not self.is_narrow:
            return {}
        return {
            name: self.live_mask(self.spec_of(name).shape).expand_as(tensor) for name, tensor in self.tensors.items()
        }

    def masked(self) -> Stack:
        """The stack with every dead entry at exactly zero."""
        masks = self.live_masks()
        if not masks:
            return self
        return _replace(self, tensors={name: torch.where(masks[name], t, 0.0) for name, t in self.tensors.items()})

    def live_tensors(self, row: int) -> dict[str, torch.Tensor]:
        """The live part of every tensor of a row, at the row's own widths, by sorted name."""
        widths = self.widths_of(row)
        return {
            name: dims.take(
                self.tensors[name][row].detach(), self.spec_of(name).shape, self.graph.symbols, widths
            ).contiguous()
            for name in sorted(self.tensors)
        }

    def live_state(self, row: int) -> dict[str, torch.Tensor]:
        """The state values that a row has, by sorted name."""
        found = {name: self.state[name][row].detach().contiguous() for name in sorted(self.state)}
        return {name: value for name, value in found.items() if not bool(absent_rows(value[None])[0])}


def vector_graph(num_dimensions: int) -> OpGraph:
    """The species of plain arrays: one parameter ``x`` of so many numbers, and no operations.

    Its fan-in is 2, so that an initialisation with deviation ``gain * sqrt(2 / fan_in)`` has deviation ``gain``.
    """
    spec = ParameterSpec((fixed(num_dimensions),), fan_in=fixed(2))
    return OpGraph.build((), (), (), {}, free={"x": spec})


def absent_rows(values: torch.Tensor) -> torch.Tensor:
    """Which rows of ``[P, ...]`` are NaN throughout, bool ``[P]``."""
    if not values.is_floating_point():
        return torch.zeros(values.shape[0], dtype=torch.bool)
    return torch.isnan(values).reshape(values.shape[0], -1).all(dim=1)


def _concat_states(stacks: Sequence[Stack]) -> dict[str, torch.Tensor]:
    models = {name: tensor for stack in stacks for name, tensor in stack.state.items()}
    joined = {}
    for name, model in sorted(models.items()):
        parts = []
        for stack in stacks:
            part = stack.state.get(name)
            if part is None and not model.is_floating_point():
                raise ValueError(
                    f"concat: state {name!r} of dtype {model.dtype} is missing in some stacks: give it to all"
                )
            parts.append(
                torch.full((stack.num_rows, *model.shape[1:]), ABSENT, dtype=model.dtype) if part is None else part
            )
        joined[name] = torch.cat(parts)
    return joined


def _check(stack: Stack) -> None:
    graph, widths = stack.graph, stack.widths
    rows = widths.shape[0] if widths.dim() == 2 else -1
    if widths.dtype != torch.int64 or tuple(widths.shape) != (rows, len(graph.symbol_names)):
        raise ValueError(
            f"widths: expected int64 [rows, {len(graph.symbol_names)}], got {widths.dtype} {list(widths.shape)}"
        )
    missing = set(graph.parameters) - set(stack.tensors)
    if missing:
        raise ValueError(f"tensors: parameter {sorted(missing)[0]!r} is missing")
    for name, tensor in stack.tensors.items():
        _check_tensor(graph, name, tensor, rows)
    for name, value in stack.state.items():
        if value.dim() == 0 or value.shape[0] != rows:
            raise ValueError(f"state {name!r}: expected a leading axis of {rows} rows, got {list(value.shape)}")


def _check_tensor(graph: OpGraph, name: str, tensor: torch.Tensor, rows: int) -> None:
    base, mark, _ = name.partition(TIER_MARK)
    spec = graph.parameters.get(base)
    if spec is None or (mark and not spec.per_tier):
        raise ValueError(f"tensors: the graph has no parameter {name!r}; it has {', '.join(graph.parameters)}")
    expected = (rows, *graph.parameter_shape(base, graph.symbols))
    if tensor.dtype != torch.float32 or tuple(tensor.shape) != expected:
        raise ValueError(f"tensor {name!r}: expected float32 {list(expected)}, got {tensor.dtype} {list(tensor.shape)}")
