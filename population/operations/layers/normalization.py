"""``layer_norm``: every sample brought to mean 0 and variance 1 over all of its live entries, then scaled and shifted.

The scale and the shift have one number for each unit of the first axis (in torch: one for each entry), so that they stay
as small as the widths they belong to. With ``over: units`` each place of a sequence or an image is normalised by itself,
over its units: what ``torch.nn.LayerNorm(units)`` does in a transformer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from population.errors import InvalidGraph
from population.lazy_torch import functional, torch
from population.operations.attributes import choice, flag, number
from population.operations.dimensions import Shape
from population.operations.layers.activation import whole_vectors
from population.operations.registry import Attributes, Call, Inferred, Operation, ParameterSpec, Sizes, register


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,) = inputs
    if not shape:
        raise InvalidGraph("expected an input with at least one axis: a single number cannot be normalised")
    if not attributes["affine"]:
        return Inferred(shape)
    weight = ParameterSpec((shape[0],), role="scale", axes=("unit",))
    return Inferred(shape, {"weight": weight, "bias": ParameterSpec((shape[0],), role="bias", axes=("unit",))})


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return (8 if attributes["affine"] else 6) * math.prod(output)


def _run(call: Call) -> torch.Tensor:
    (given,), mask = call.inputs, call.masks[0] if call.masks else None
    values = whole_vectors(given)
    axes = (1,) if call.attributes["over"] == "units" else tuple(range(1, values.dim() - 1))
    count = math.prod(values.shape[axis] for axis in axes)
    if mask is None:
        share: torch.Tensor | float = 1.0 / count
        centred = values - _sum(values, axes) * share
    else:
        live = mask.expand(mask.shape[0], *values.shape[1:-1], 1)
        share = 1.0 / live.to(values.dtype).sum(dim=axes, keepdim=True)
        centred = (values - _sum(values * live, axes) * share) * live
    result = centred / torch.sqrt(_sum(centred * centred, axes) * share + float(call.attributes["eps"]))  # type: ignore[arg-type]
    if call.parameters:
        rest = (1,) * (values.dim() - 2)
        weight, bias = call.parameters["weight"], call.parameters["bias"]
        result = result * weight.reshape(*weight.shape, *rest) + bias.reshape(*bias.shape, *rest)
    return result[..., : given.shape[-1]]


def _sum(values: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """The sum over units and places; samples stay innermost, so that every candidate is added up alike."""
    return values.sum(dim=axes, keepdim=True)


def _run_single(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    eps = float(call.attributes["eps"])  # type: ignore[arg-type]
    if call.attributes["over"] == "units":
        last = values.movedim(1, -1)  # [N, *places, C]
        result = functional.layer_norm(last, last.shape[-1:], eps=eps).movedim(-1, 1)
    else:
        result = functional.layer_norm(values, values.shape[1:], eps=eps)
    if not call.parameters:
        return result
    rest = (1,) * (values.dim() - 2)
    return result * call.parameters["weight"].reshape(-1, *rest) + call.parameters["bias"].reshape(-1, *rest)


layer_norm = register(
    Operation(
        "layer_norm",
        _infer,
        _flops,
        _run,
        _run_single,
        {"eps": number(1e-5), "affine": flag(True), "over": choice("sample", "units")},
    )
)
