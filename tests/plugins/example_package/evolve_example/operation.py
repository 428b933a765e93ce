"""``sine``: the sine of every entry times a frequency, as networks for signals use it.

Source: Sitzmann et al. 2020, https://arxiv.org/abs/2006.09661, eq. 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from population.operations import Call, Inferred, Operation, register
from population.operations.attributes import positive
from population.operations.dimensions import Shape
from population.operations.registry import Attributes, Sizes


def infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    """The value has the shape of the input; there are no parameters."""
    return Inferred(inputs[0])


def flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    """A product and a sine for each entry."""
    return 2 * math.prod(output)


def run(call: Call) -> torch.Tensor:
    """The same on the layout of stacks ``[P, *shape, N]`` and on the ordinary one ``[N, *shape]``."""
    return torch.sin(call.inputs[0] * float(call.attributes["frequency"]))


sine = register(
    Operation("sine", infer, flops, run, run, {"frequency": positive(1.0)}, keeps_zero=True)  # sin(0) = 0
)
