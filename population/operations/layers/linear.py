"""``linear``: every output is a weighted sum of the last axis plus a bias."""

from __future__ import annotations

import math
from collections.abc import Sequence

from population.errors import InvalidGraph
from population.lazy_torch import functional, torch
from population.operations import kernels
from population.operations.attributes import dimension, flag
from population.operations.dimensions import Shape, parse_dim
from population.operations.registry import Attributes, Call, Inferred, Operation, ParameterSpec, Sizes, register


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,) = inputs
    if not shape:
        raise InvalidGraph("expected an input with at least one axis: reshape a single number to [1] first")
    out, reads = parse_dim(attributes["out"]), shape[-1]
    parameters = {"weight": ParameterSpec((out, reads), fan_in=reads, axes=("out", "in"))}
    if attributes["bias"]:
        parameters["bias"] = ParameterSpec((out,), fan_in=reads, role="bias", axes=("out",))
    return Inferred((*shape[:-1], out), parameters)


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return math.prod(output) * (2 * inputs[0][-1] + int(bool(attributes["bias"])))


def _run(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    weight, bias = call.parameters["weight"], call.parameters.get("bias")
    if values.dim() == 3:
        return kernels.affine(values, weight, bias)
    first = values.movedim(-2, 1)  # [P, k, *rest, N]
    result = kernels.affine(first.reshape(first.shape[0], first.shape[1], -1), weight, bias)
    return result.reshape(*result.shape[:2], *first.shape[2:]).movedim(1, -2)


def _run_single(call: Call) -> torch.Tensor:
    return functional.linear(call.inputs[0], call.parameters["weight"], call.parameters.get("bias"))


linear = register(
    Operation("linear", _infer, _flops, _run, _run_single, {"out": dimension(), "bias": flag(True)}, keeps_zero=True)
)
