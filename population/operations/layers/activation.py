"""``relu``, ``gelu``, ``tanh``, ``sigmoid`` and relatives entry by entry; ``softmax``, ``log_softmax`` over the first axis.

Vectorised kernels finish the last few entries of a tensor by scalar code, whose bits may differ; so every candidate's
entries are padded to whole vectors where the kernel is not a single exact operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from population.errors import InvalidGraph
from population.lazy_torch import functional, torch
from population.operations.attributes import number
from population.operations.dimensions import Shape
from population.operations.registry import Attributes, Call, Inferred, Operation, Sizes, register

#: Entries that an unrolled loop of the widest vectors handles at once.
_LANES: Final = 64


def whole_vectors(values: torch.Tensor) -> torch.Tensor:
    """The value with its samples padded so that each candidate's entries fill whole vectors."""
    missing = -values.shape[-1] % _LANES
    return functional.pad(values, (0, missing)) if missing else values


def _same(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0])


def _flops_each(count: int) -> Callable[[Sequence[Sizes], Sizes, Attributes], int]:
    return lambda inputs, output, attributes: count * math.prod(output)


def _function(name: str) -> Callable[..., torch.Tensor]:
    """A function of ``torch.nn.functional``, found when it is called."""

    def call(values: torch.Tensor, **named: int) -> torch.Tensor:
        found: torch.Tensor = getattr(functional, name)(values, **named)
        return found

    return call


def _run_relu(call: Call) -> torch.Tensor:
    return torch.relu(call.inputs[0])


def _elementwise(
    name: str, function: Callable[[torch.Tensor], torch.Tensor], flops: int, keeps_zero: bool
) -> Operation:
    def run(call: Call) -> torch.Tensor:
        values = call.inputs[0]
        return function(whole_vectors(values))[..., : values.shape[-1]]

    def run_single(call: Call) -> torch.Tensor:
        return function(call.inputs[0])

    return register(Operation(name, _same, _flops_each(flops), run, run_single, keeps_zero=keeps_zero))


relu = register(
    Operation("relu", _same, _flops_each(1), _run_relu, lambda call: functional.relu(call.inputs[0]), keeps_zero=True)
)
gelu = _elementwise("gelu", _function("gelu"), 5, keeps_zero=True)
tanh = _elementwise("tanh", _function("tanh"), 1, keeps_zero=True)
sigmoid = _elementwise("sigmoid", _function("sigmoid"), 3, keeps_zero=False)
silu = _elementwise("silu", _function("silu"), 4, keeps_zero=True)
softplus = _elementwise("softplus", _function("softplus"), 4, keeps_zero=False)


def _number_of(call: Call, name: str) -> float:
    value = call.attributes[name]
    assert isinstance(value, float)
    return value


def _run_leaky_relu(call: Call) -> torch.Tensor:
    return functional.leaky_relu(call.inputs[0], _number_of(call, "negative_slope"))


def _run_elu_single(call: Call) -> torch.Tensor:
    return functional.elu(call.inputs[0], _number_of(call, "alpha"))


def _run_elu(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return functional.elu(whole_vectors(values), _number_of(call, "alpha"))[..., : values.shape[-1]]


def _run_hardtanh(call: Call) -> torch.Tensor:
    return functional.hardtanh(call.inputs[0], _number_of(call, "min_val"), _number_of(call, "max_val"))


def _infer_hardtanh(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    least, most = attributes["min_val"], attributes["max_val"]
    if not least < most:  # type: ignore[operator]
        raise InvalidGraph(f"min_val must be below max_val, got {least} and {most}")
    return Inferred(inputs[0])


leaky_relu = register(
    Operation(
        "leaky_relu",
        _same,
        _flops_each(2),
        _run_leaky_relu,
        _run_leaky_relu,
        {"negative_slope": number(0.01)},
        keeps_zero=True,
    )
)
elu = register(
    Operation("elu", _same, _flops_each(3), _run_elu, _run_elu_single, {"alpha": number(1.0)}, keeps_zero=True)
)
hardtanh = register(
    Operation(
        "hardtanh",
        _infer_hardtanh,
        _flops_each(2),
        _run_hardtanh,
        _run_hardtanh,
        {"min_val": number(-1.0), "max_val": number(1.0)},
    )
)


def _infer_softmax(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if not inputs[0]:
        raise InvalidGraph("expected an input with at least one axis: reshape a single number to [1] first")
    return Inferred(inputs[0])


def _shares(
    function: Callable[..., torch.Tensor],
) -> tuple[Callable[[Call], torch.Tensor], Callable[[Call], torch.Tensor]]:
    """``run`` and ``run_single`` of a function over the units, dead ones left out."""

    def run(call: Call) -> torch.Tensor:
        (values,), mask = call.inputs, call.masks[0] if call.masks else None
        padded = whole_vectors(values)
        if mask is not None:
            live = mask.any(dim=1, keepdim=True)  # a place without any live unit has no shares to give
            padded = padded.masked_fill(~mask & live, -torch.inf)
        return function(padded, dim=1)[..., : values.shape[-1]]

    return run, lambda call: function(call.inputs[0], dim=1)


softmax = register(Operation("softmax", _infer_softmax, _flops_each(5), *_shares(_function("softmax"))))
log_softmax = register(Operation("log_softmax", _infer_softmax, _flops_each(6), *_shares(_function("log_softmax"))))
