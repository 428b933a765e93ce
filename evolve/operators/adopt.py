"""``adopt``: an individual of another campaign, taken over as it is: how a fork begins."""

from __future__ import annotations

from evolve.operators.registry import Making, Operator, Settings, register
from population.stacks.stack import Stack


class AdoptSettings(Settings):
    """It has none."""


def apply(making: Making, settings: AdoptSettings) -> Stack:
    """Returns the parents, bit by bit, their state too."""
    (parents,) = making.parents
    return parents


adopt = register(
    Operator("adopt", 1, 1, AdoptSettings, apply, cost=lambda flops, parameters, settings: parameters, draws=False)
)
