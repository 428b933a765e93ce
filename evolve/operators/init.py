"""``init``: a first individual, He-normal weights and zero biases.

Source: He et al. 2015, https://arxiv.org/abs/1502.01852, eq. 10 (std = sqrt(2 / fan_in)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from evolve.operators.noise import normal_rows
from evolve.operators.registry import Making, Operator, Settings, register
from population.stacks.stack import Stack


class InitSettings(Settings):
    """Attributes: widths: live width by symbol (absent symbols at their widest); gain: factor on the standard deviation."""

    widths: Mapping[str, int] = {}
    gain: float = 1.0


def apply(making: Making, settings: InitSettings) -> Stack:
    """Returns one new row per seed: weights drawn normal with std ``gain * sqrt(2 / fan_in)``, scales 1, biases 0."""
    graph = making.graph
    widths = {**graph.symbols, **settings.widths}
    stack = Stack.zeros(graph, making.num_children, [widths] * making.num_children)
    tensors = {}
    for name, spec in graph.parameters.items():
        shape = stack.tensors[name].shape[1:]
        if spec.role == "weight":
            fan_in = max(1, graph.fan_in(name, widths))
            std = torch.tensor(settings.gain * math.sqrt(2.0 / fan_in), dtype=torch.float32)
            tensors[name] = normal_rows(making.seeds, name, shape) * std
        elif spec.role == "scale":
            tensors[name] = torch.ones_like(stack.tensors[name])
        else:
            tensors[name] = stack.tensors[name]
    return stack.replace(tensors=tensors).masked()


init = register(Operator("init", 1, 0, InitSettings, apply, cost=lambda flops, parameters, settings: 2 * parameters))
