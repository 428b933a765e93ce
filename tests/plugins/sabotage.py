"""A plugin's operator that makes half of its children misbehave: it sets the ``trigger`` that the hostile operation reads."""

from __future__ import annotations

import torch

import tests.plugins.hostile
from evolve.operators.noise import stream_of
from evolve.operators.registry import Making, Operator, Settings, register
from population.randomness import integers
from population.stacks.stack import Stack

assert tests.plugins.hostile  # registers the operation
#: Half of the children behave; the others return NaN, abort, spin, eat memory.
TRIGGERS = (0, 0, 0, 0, 1, 2, 3, 4)


class SabotageSettings(Settings):
    """There is nothing to set."""


def _apply(making: Making, settings: SabotageSettings) -> Stack:
    (parent,) = making.parents
    places = [int(integers(seed, stream_of("trigger"), 1, len(TRIGGERS))[0]) for seed in making.seeds]
    chosen = torch.tensor([[float(TRIGGERS[place])] for place in places])
    triggers = {name: chosen if name.endswith(".trigger") else tensor for name, tensor in parent.tensors.items()}
    return parent.replace(tensors=triggers)


sabotage = register(Operator("sabotage", 1, 1, SabotageSettings, _apply, lambda flops, parameters, settings: 1))
