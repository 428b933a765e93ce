"""Crossover: children that mix the weights of two parents, entry by entry, node by node, or by a weighted mean.

The child has the first parent's widths and strategy values; entries that the second parent lacks are its zeros. Same bits
on every machine. Nouns: *mate*, the second parent.
"""

from __future__ import annotations

import torch
from pydantic import Field

from evolve.operators.noise import along, coin_rows
from evolve.operators.registry import Making, Operator, Settings, register
from population.stacks.stack import Stack


class CrossoverSettings(Settings):
    """Attributes: mate_rate: probability that an entry (or a node) comes from the mate."""

    mate_rate: float = Field(default=0.5, ge=0, le=1)


class MeanSettings(Settings):
    """Attributes: weight: of the first parent; the mate weighs ``1 - weight``."""

    weight: float = Field(default=0.5, ge=0, le=1)


def apply_uniform(making: Making, settings: CrossoverSettings) -> Stack:
    """Returns children whose every entry comes from the mate with probability ``mate_rate``, else from the first parent.

    Source: Syswerda 1989, uniform crossover.
    """
    parent, mate = making.parents
    mixed = {
        name: torch.where(coin_rows(making.seeds, name, x.shape[1:], settings.mate_rate), mate.tensors[name], x)
        for name, x in parent.tensors.items()
    }
    return parent.replace(tensors=mixed).masked()


def apply_layerwise(making: Making, settings: CrossoverSettings) -> Stack:
    """Returns children that take each node's tensors whole, from the mate with probability ``mate_rate``."""
    parent, mate = making.parents
    mixed = {}
    for name, x in parent.tensors.items():
        node = name.rsplit(".", 1)[0]
        mixed[name] = torch.where(
            along(coin_rows(making.seeds, node, (), settings.mate_rate), x), mate.tensors[name], x
        )
    return parent.replace(tensors=mixed).masked()


def apply_mean(making: Making, settings: MeanSettings) -> Stack:
    """Returns ``weight * parent + (1 - weight) * mate``, rounded once an operation."""
    parent, mate = making.parents
    first = torch.tensor(settings.weight, dtype=torch.float32)
    second = torch.tensor(1.0 - settings.weight, dtype=torch.float32)
    mixed = {name: x * first + mate.tensors[name] * second for name, x in parent.tensors.items()}
    return parent.replace(tensors=mixed).masked()


def _cost(flops: int, parameters: int, settings: Settings) -> int:
    return 2 * parameters


uniform = register(Operator("uniform", 1, 2, CrossoverSettings, apply_uniform, _cost))
layerwise = register(Operator("layerwise", 1, 2, CrossoverSettings, apply_layerwise, _cost))
mean = register(Operator("mean", 1, 2, MeanSettings, apply_mean, _cost, draws=False))
