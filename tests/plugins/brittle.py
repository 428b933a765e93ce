"""A plugin's operation that cannot be trained: the hyperbolic tangent, which raises where somebody wants its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from population.operations import Call, Inferred, Operation, register
from population.operations.dimensions import Shape
from population.operations.registry import Attributes, Sizes


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0])


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 1


def _run(call: Call) -> torch.Tensor:
    if call.inputs[0].requires_grad:
        raise ArithmeticError("[bold]no gradient[/nothing]")  # words that must not be read as marks of style
    return torch.tanh(call.inputs[0])


brittle = register(Operation("brittle", _infer, _flops, _run, _run, keeps_zero=True))
