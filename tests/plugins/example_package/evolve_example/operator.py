"""``flip``: a mutation that turns the sign of some weights."""

from __future__ import annotations

import torch
from pydantic import Field

from evolve.operators import Making, Operator, Settings, register
from evolve.operators.noise import coin_rows
from population.stacks.stack import Stack


class FlipSettings(Settings):
    """Attributes: rate: the probability that a weight's sign is turned."""

    rate: float = Field(default=0.01, ge=0, le=1)


def apply(making: Making, settings: FlipSettings) -> Stack:
    """Returns the parents with signs turned; row i draws from seed i alone, and dead entries stay zero."""
    (parent,) = making.parents
    tensors = {
        name: torch.where(coin_rows(making.seeds, name, tensor.shape[1:], settings.rate), -tensor, tensor)
        for name, tensor in parent.tensors.items()
    }
    return parent.replace(tensors=tensors)


flip = register(Operator("flip", 1, 1, FlipSettings, apply, cost=lambda flops, parameters, settings: parameters))
