"""``conv1d`` and ``conv2d``: the windows of a value as columns, then one product a candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from population.errors import InvalidGraph
from population.lazy_torch import functional, torch
from population.operations import kernels
from population.operations.attributes import dimension, flag, per_axis, sizes
from population.operations.dimensions import Shape, fixed, format_shape, multiply, parse_dim
from population.operations.registry import Attributes, Axis, Call, Inferred, Operation, ParameterSpec, Sizes, register
from population.operations.windows import Window


def _make(name: str, axes: int) -> Operation:
    def infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
        (shape,) = inputs
        return _infer(shape, attributes, axes)

    def flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
        reads = inputs[0][0] * math.prod(per_axis(attributes["kernel"], axes))
        return math.prod(output) * (2 * reads + int(bool(attributes["bias"])))

    def run(call: Call) -> torch.Tensor:
        (values,) = call.inputs
        window, weight = Window.of(call.attributes, axes), call.parameters["weight"]
        return kernels.convolve(values, weight, call.parameters.get("bias"), window)

    def run_single(call: Call) -> torch.Tensor:
        window = Window.of(call.attributes, axes)
        weight, bias = call.parameters["weight"], call.parameters.get("bias")
        single: Callable[..., torch.Tensor] = getattr(functional, name)
        return single(call.inputs[0], weight, bias, stride=window.stride, padding=window.padding)

    known = {
        "out": dimension(),
        "kernel": sizes(axes=axes, is_required=True),
        "stride": sizes(1, axes=axes),
        "padding": sizes(0, least=0, axes=axes),
        "bias": flag(True),
    }
    return register(Operation(name, infer, flops, run, run_single, known, keeps_zero=True))


def _infer(shape: Shape, attributes: Attributes, axes: int) -> Inferred:
    """Returns the shape that a convolution over so many axes gives, and its parameters."""
    if len(shape) != axes + 1:
        raise InvalidGraph(f"expected an input of {axes + 1} axes (units first), got {format_shape(shape)}: reshape it")
    window = Window.of(attributes, axes)
    out, reads = parse_dim(attributes["out"]), shape[0]
    fan_in = multiply(reads, fixed(math.prod(window.kernel)))
    kernel = tuple(fixed(size) for size in window.kernel)
    places: tuple[Axis, ...] = ("", "", "")
    counted: tuple[Axis, ...] = ("out", "in", *places[:axes])
    parameters = {"weight": ParameterSpec((out, reads, *kernel), fan_in=fan_in, axes=counted)}
    if attributes["bias"]:
        parameters["bias"] = ParameterSpec((out,), fan_in=fan_in, role="bias", axes=("out",))
    return Inferred((out, *window.infer(shape[1:])), parameters)


conv1d = _make("conv1d", 1)
conv2d = _make("conv2d", 2)
