"""``flatten`` and ``reshape``: the same entries in the same order under other axes; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from population.dims import Shape, flatten, format_dim, parse_dim
from population.errors import InvalidGraph
from population.operations.attributes import shape as shape_kind
from population.operations.registry import Attributes, Call, Inferred, Operation, Sizes, register


def _no_flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 0


def _infer_flatten(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred((flatten(inputs[0]),))


def _run_flatten(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return values.reshape(values.shape[0], -1, values.shape[-1])


flatten_ = register(
    Operation(
        "flatten",
        _infer_flatten,
        _no_flops,
        _run_flatten,
        lambda call: (
            torch.flatten(call.inputs[0], start_dim=1) if call.inputs[0].dim() > 1 else call.inputs[0][:, None]
        ),
        keeps_zero=True,
    )
)


def _infer_reshape(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    wanted = tuple(parse_dim(dim) for dim in attributes["shape"])  # type: ignore[union-attr]
    has, asks = flatten(inputs[0]), flatten(wanted)
    if has != asks:
        raise InvalidGraph(
            f"expected a shape that flattens to {format_dim(has)}, as the input does, got {format_dim(asks)}"
        )
    return Inferred(wanted)


def _run_reshape(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return values.reshape(values.shape[0], *call.sizes, values.shape[-1])


def _run_reshape_single(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return torch.reshape(values, (values.shape[0], *call.sizes))


reshape = register(
    Operation(
        "reshape",
        _infer_reshape,
        _no_flops,
        _run_reshape,
        _run_reshape_single,
        {"shape": shape_kind()},
        keeps_zero=True,
    )
)
