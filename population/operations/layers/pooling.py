"""``max_pool1d``, ``max_pool2d``, ``avg_pool1d``, ``avg_pool2d``; the padding counts in an average, as in torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from population.errors import InvalidGraph
from population.lazy_torch import functional, torch
from population.operations import kernels
from population.operations.attributes import per_axis, sizes
from population.operations.dimensions import Shape, format_shape
from population.operations.registry import Attributes, Call, Inferred, Operation, Sizes, register
from population.operations.windows import Window


def _max_pool(values: torch.Tensor, window: Window) -> torch.Tensor:
    return kernels.max_pool(values, window)


def _mean_pool(values: torch.Tensor, window: Window) -> torch.Tensor:
    return kernels.sum_pool(values, window) * (1.0 / math.prod(window.kernel))


def _make(name: str, axes: int, stacked: Callable[[torch.Tensor, Window], torch.Tensor]) -> Operation:
    def infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
        (shape,) = inputs
        if len(shape) != axes + 1:
            raise InvalidGraph(
                f"expected an input of {axes + 1} axes (units first), got {format_shape(shape)}: reshape it"
            )
        window = Window.of(attributes, axes)
        if any(2 * padding > kernel for padding, kernel in zip(window.padding, window.kernel, strict=True)):
            raise InvalidGraph(
                f"padding {window.padding} is more than half of the kernel {window.kernel}: make it smaller"
            )
        return Inferred((shape[0], *window.infer(shape[1:])))

    def flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
        return math.prod(output) * math.prod(per_axis(attributes["kernel"], axes))

    def run(call: Call) -> torch.Tensor:
        return stacked(call.inputs[0], Window.of(call.attributes, axes))

    def run_single(call: Call) -> torch.Tensor:
        window = Window.of(call.attributes, axes)
        single: Callable[..., torch.Tensor] = getattr(functional, name)
        return single(call.inputs[0], window.kernel, stride=window.stride, padding=window.padding)

    known = {
        "kernel": sizes(axes=axes, is_required=True),
        "stride": sizes(axes=axes),
        "padding": sizes(0, least=0, axes=axes),
    }
    return register(Operation(name, infer, flops, run, run_single, known, keeps_zero=True))


max_pool1d = _make("max_pool1d", 1, _max_pool)
max_pool2d = _make("max_pool2d", 2, _max_pool)
avg_pool1d = _make("avg_pool1d", 1, _mean_pool)
avg_pool2d = _make("avg_pool2d", 2, _mean_pool)
