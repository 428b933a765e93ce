"""Matrix products for stacks: one product a candidate, with bits that depend on that candidate alone.

Shapes: P candidates, m outputs, k contracted entries, n columns (samples, or places by samples).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.autograd.function import once_differentiable

#: From so many multiplications on, candidates are multiplied one by one: a call costs little then, and is never batched.
_ALONE_FROM: Final = 1 << 20


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left @ right`` row by row, ``[P, m, k] x [P, k, n] -> [P, m, n]``; a factor of one row serves all rows.

    A library may take another path for a batch of one than for a larger one, so a batch of one is computed as two.
    """
    rows = max(left.shape[0], right.shape[0])
    places, contracted, columns = left.shape[1], left.shape[2], right.shape[2]
    if places * contracted * columns >= _ALONE_FROM:
        result = left.new_empty(rows, places, columns)
        for row in range(rows):
            torch.mm(left[min(row, left.shape[0] - 1)], right[min(row, right.shape[0] - 1)], out=result[row])
        return result
    computed = max(rows, 2)
    result = torch.bmm(left.expand(computed, -1, -1), right.expand(computed, -1, -1))
    return result[:rows]


def _computed(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result = product(weight, values)
    return result if bias is None else result.add_(bias[:, :, None])


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(values, weight)
        return _computed(values, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        for_values, for_weight, for_bias = ctx.needs_input_grad
        gradient = gradient.contiguous()
        of_values = product(weight.transpose(1, 2), gradient) if for_values else None
        if of_values is not None and values.shape[0] == 1:
            of_values = of_values.sum(dim=0, keepdim=True)
        return (
            of_values,
            product(values, gradient.transpose(1, 2)).transpose(1, 2) if for_weight else None,
            gradient.sum(dim=2) if for_bias else None,
        )


def affine(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``weight @ values + bias`` for every candidate; differentiable once.

    Shapes: values ``[P or 1, k, n]``, weight ``[P, m, k]``, bias ``[P, m]``; result ``[P, m, n]``.
    """
    if not torch.is_grad_enabled():  # the same, without the cost of what nobody will differentiate
        return _computed(values, weight, bias)
    result: torch.Tensor = _Affine.apply(values, weight, bias)  # type: ignore[no-untyped-call]
    return result
