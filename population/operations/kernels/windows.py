"""Values seen through windows: as columns, their largest entries, their sums, each with its gradient.

Samples are the innermost axis, so that every copy here moves long contiguous runs.

Nouns: see `population.operations.windows`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from population.operations.windows import Window


def fill_columns(columns: torch.Tensor, values: torch.Tensor, window: Window) -> None:
    """Copies the windows of values into columns; what lies in the padding is left as it is.

    Shapes: values ``[..., *axes, N]``, columns ``[..., *kernel, *places, N]``.
    """
    for offset, places, source in window.offsets(_axes_of(values, window)):
        columns[_at(*offset, *places)] = values[_at(*source)]


def add_columns(values: torch.Tensor, columns: torch.Tensor, window: Window) -> None:
    """Adds columns to the places of values that they were filled from: what ``fill_columns`` does, transposed."""
    for offset, places, source in window.offsets(_axes_of(values, window)):
        values[_at(*source)] += columns[_at(*offset, *places)]


def _axes_of(values: torch.Tensor, window: Window) -> tuple[int, ...]:
    return tuple(values.shape[-1 - len(window.kernel) : -1])


def _at(*places: int | slice) -> tuple[Any, ...]:
    """The index of some places, for all units and samples."""
    return (..., *places, slice(None))


class _Unfold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, window: Window) -> torch.Tensor:
        ctx.window, ctx.shape = window, values.shape
        shape = (*values.shape[:2], *window.kernel, *window.output(_axes_of(values, window)), values.shape[-1])
        columns = values.new_zeros(shape) if any(window.padding) else values.new_empty(shape)
        fill_columns(columns, values, window)
        return columns.reshape(values.shape[0], values.shape[1] * math.prod(window.kernel), -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        window, shape = ctx.window, ctx.shape
        result = gradient.new_zeros(shape)
        places = window.output(_axes_of(result, window))
        add_columns(result, gradient.reshape(*shape[:2], *window.kernel, *places, shape[-1]), window)
        return result, None


def unfold(values: torch.Tensor, window: Window) -> torch.Tensor:
    """The windows as columns: ``[P, C, *axes, N] -> [P, C * kernel, places * N]``; differentiable once."""
    if all(size == 1 for size in window.kernel) and all(s == 1 for s in window.stride) and not any(window.padding):
        return values.reshape(*values.shape[:2], -1)
    result: torch.Tensor = _Unfold.apply(values, window)  # type: ignore[no-untyped-call]
    return result


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, window: Window) -> torch.Tensor:
        sizes = _axes_of(values, window)
        result = values.new_full((*values.shape[:2], *window.output(sizes), values.shape[-1]), -torch.inf)
        for _, places, source in window.offsets(sizes):
            part = result[_at(*places)]
            torch.maximum(part, values[_at(*source)], out=part)
        ctx.window = window
        ctx.save_for_backward(values, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        values, best = ctx.saved_tensors
        left = gradient.clone()  # what no earlier place of the window has taken
        result = torch.zeros_like(values)
        for _, places, source in ctx.window.offsets(_axes_of(values, ctx.window)):
            taken = (values[_at(*source)] == best[_at(*places)]).to(gradient.dtype).mul_(left[_at(*places)])
            result[_at(*source)] += taken
            left[_at(*places)] -= taken
        return result, None


def max_pool(values: torch.Tensor, window: Window) -> torch.Tensor:
    """The largest entry of every window; the gradient goes to the first of equals; differentiable once."""
    result: torch.Tensor = _MaxPool.apply(values, window)  # type: ignore[no-untyped-call]
    return result


class _SumPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, window: Window) -> torch.Tensor:
        sizes = _axes_of(values, window)
        ctx.window, ctx.shape = window, values.shape
        result = values.new_zeros((*values.shape[:2], *window.output(sizes), values.shape[-1]))
        for _, places, source in window.offsets(sizes):
            result[_at(*places)] += values[_at(*source)]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        result = gradient.new_zeros(ctx.shape)
        for _, places, source in ctx.window.offsets(tuple(ctx.shape[2:-1])):
            result[_at(*source)] += gradient[_at(*places)]
        return result, None


def sum_pool(values: torch.Tensor, window: Window) -> torch.Tensor:
    """The sum of every window; differentiable once."""
    result: torch.Tensor = _SumPool.apply(values, window)  # type: ignore[no-untyped-call]
    return result
