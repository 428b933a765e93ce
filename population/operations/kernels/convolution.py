"""Convolution of stacks: windows as columns, then one matrix product a candidate.

The columns of a large candidate are never kept: they are made again for the backward pass, in memory that all candidates
share, so that a stack of any size needs the memory of one.

Shapes: P candidates, C units read, m units made, N samples.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch.autograd.function import once_differentiable

from population.operations.kernels.products import affine
from population.operations.kernels.windows import add_columns, fill_columns, unfold
from population.operations.windows import Window

#: From so many column entries a candidate on, candidates are convolved one by one.
_ALONE_FROM: Final = 1 << 18


def convolve(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window) -> torch.Tensor:
    """The convolution of every candidate; differentiable once.

    Shapes: values ``[P or 1, C, *axes, N]``, weight ``[P, m, C, *kernel]``, bias ``[P, m]``; result ``[P, m, *places, N]``.
    """
    places = window.output(tuple(values.shape[2:-1]))
    matrix = weight.reshape(*weight.shape[:2], -1)
    if matrix.shape[2] * math.prod(places) * values.shape[-1] >= _ALONE_FROM:
        result: torch.Tensor = _Convolution.apply(values, matrix, bias, window)  # type: ignore[no-untyped-call]
    else:
        result = affine(unfold(values, window), matrix, bias)
    return result.reshape(*result.shape[:2], *places, values.shape[-1])


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, window: Window
    ) -> torch.Tensor:
        ctx.save_for_backward(values, weight)
        ctx.window = window
        columns, view = _columns_for(values, window)
        result = values.new_empty(weight.shape[0], weight.shape[1], columns.shape[1])
        for row in range(weight.shape[0]):
            if row < values.shape[0]:
                fill_columns(view, values[row], window)
            torch.mm(weight[row], columns, out=result[row])
        return result if bias is None else result.add_(bias[:, :, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        for_values, for_weight, for_bias, _ = ctx.needs_input_grad
        gradient = gradient.contiguous()
        of_weight = torch.empty_like(weight) if for_weight else None
        of_values = torch.zeros_like(values) if for_values else None
        columns, view = _columns_for(values, ctx.window)
        back, back_view = _columns_for(values, ctx.window)
        for row in range(weight.shape[0]):
            if of_weight is not None:
                if row < values.shape[0]:
                    fill_columns(view, values[row], ctx.window)
                of_weight[row] = torch.mm(columns, gradient[row].T).T
            if of_values is not None:
                torch.mm(weight[row].T, gradient[row], out=back)
                add_columns(of_values[min(row, values.shape[0] - 1)], back_view, ctx.window)
        return of_values, of_weight, gradient.sum(dim=2) if for_bias else None, None


def _columns_for(values: torch.Tensor, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
    """Memory for the columns of one candidate, zero in the padding: as a matrix, and by unit, offset and place."""
    places = window.output(tuple(values.shape[2:-1]))
    units, samples = values.shape[1], values.shape[-1]
    columns = values.new_zeros(units * math.prod(window.kernel), math.prod(places) * samples)
    return columns, columns.view(units, *window.kernel, *places, samples)
