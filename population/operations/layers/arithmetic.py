"""``add`` and ``multiply`` (two or more values of one shape; or one value and a constant, or a parameter of one number
for each unit of the first axis), and ``concatenate`` along the first axis.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Literal

from population.errors import InvalidGraph
from population.lazy_torch import torch
from population.operations.attributes import number
from population.operations.dimensions import Shape, format_shape, normal
from population.operations.registry import Attributes, Call, Inferred, Operation, ParameterSpec, Sizes, register


def _infer_with(kind: Literal["bias", "scale"], role: str) -> Callable[[Sequence[Shape], Attributes], Inferred]:
    def infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
        shape = inputs[0]
        if any(other != shape for other in inputs):
            found = ", ".join(format_shape(other) for other in inputs)
            raise InvalidGraph(
                f"expected inputs of one shape with the same symbols, got {found}: bring them to one first"
            )
        if len(inputs) > 1 and "value" in attributes:
            raise InvalidGraph("attribute 'value' goes with a single input: remove it, or all inputs but one")
        if len(inputs) > 1 or "value" in attributes:
            return Inferred(shape)
        if not shape:
            raise InvalidGraph("expected an input with at least one axis, or the attribute 'value'")
        return Inferred(shape, {role: ParameterSpec((shape[0],), role=kind, axes=("unit",))})

    return infer


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return max(1, len(inputs) - 1) * math.prod(output)


def _make(
    name: str, kind: Literal["bias", "scale"], role: str, function: Callable[..., torch.Tensor], keeps_zero: bool
) -> Operation:
    def combine(call: Call) -> torch.Tensor:
        if "value" in call.attributes:
            return function(call.inputs[0], float(call.attributes["value"]))  # type: ignore[arg-type]
        return reduce(function, call.inputs)

    def run(call: Call) -> torch.Tensor:
        if role not in call.parameters:
            return combine(call)
        (values,), parameter = call.inputs, call.parameters[role]  # [P, C, *rest, N], [P, C]
        return function(values, parameter.reshape(*parameter.shape, *(1,) * (values.dim() - 2)))

    def run_single(call: Call) -> torch.Tensor:
        if role not in call.parameters:
            return combine(call)
        (values,) = call.inputs  # [N, C, *rest]
        return function(values, call.parameters[role].reshape(-1, *(1,) * (values.dim() - 2)))

    return register(
        Operation(
            name,
            _infer_with(kind, role),
            _flops,
            run,
            run_single,
            {"value": number()},
            (1, None),
            keeps_zero=keeps_zero,
        )
    )


add = _make("add", "bias", "bias", operator.add, keeps_zero=False)
multiply = _make("multiply", "scale", "weight", operator.mul, keeps_zero=True)


def _infer_concatenate(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    rest = inputs[0][1:]
    if any(not shape or shape[1:] != rest for shape in inputs):
        found = ", ".join(format_shape(shape) for shape in inputs)
        raise InvalidGraph(
            f"expected inputs that differ in their first axis only, got {found}: reshape or flatten them"
        )
    return Inferred((normal(part for shape in inputs for part in shape[0]), *rest))


def _run_concatenate(call: Call) -> torch.Tensor:
    rows = max(values.shape[0] for values in call.inputs)
    return torch.cat([values.expand(rows, *values.shape[1:]) for values in call.inputs], dim=1)


concatenate = register(
    Operation(
        "concatenate",
        _infer_concatenate,
        lambda inputs, output, attributes: 0,
        _run_concatenate,
        lambda call: torch.cat(call.inputs, dim=1),
        num_inputs=(1, None),
        keeps_zero=True,
    )
)
