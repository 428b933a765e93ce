"""``distil``: turns a row into nested tiers by training all of them together in one set of tensors.

Widths are first ordered by importance; every step then trains the widest and the narrowest tier and all between (the
sandwich rule, Yu and Huang 2019, https://arxiv.org/abs/1903.05134, sec. 3.1), the narrower ones also towards the widest
one's soft outputs (in-place distillation, same paper, sec. 3.2). Bits are kept within one environment.

Nouns: *teacher*, the ultimate tier; *students*, the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field

from evolve.operators.registry import Making, Operator, register
from evolve.operators.training.gradient import Tensors, TrainingSettings, train, training_cost
from evolve.operators.training.losses import teaching_loss, training_loss
from population.errors import ConfigError
from population.stacks.interpreters import run_stack
from population.stacks.stack import Stack
from population.stacks.tiers import order_by_importance, slice_stack, with_tier_parameters


class DistilSettings(TrainingSettings):
    """Attributes: tiers: width by symbol for each tier; soft_share: weight of the teacher's outputs in a student's loss;
    temperature: of both softmaxes in that part."""

    tiers: Mapping[str, Mapping[str, int]]
    soft_share: float = Field(default=0.5, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)


def apply(making: Making, settings: DistilSettings) -> Stack:
    """Returns each parent, its units ordered by importance, after training every tier in ``settings.tiers`` together."""
    (parent,) = making.parents
    if making.benchmark is None:
        raise ValueError("distil reads training rows: pass a benchmark")
    if "ultimate" not in settings.tiers:
        raise ConfigError("distil: settings.tiers must name the tier 'ultimate'")
    outputs = [name for name, _ in making.graph.outputs]
    hard = training_loss(making.benchmark, outputs, settings.smoothing)
    soft = teaching_loss(making.benchmark, outputs, settings.temperature)
    students = [tier for tier in settings.tiers if tier != "ultimate"]

    def loss(stack: Stack, inputs: Tensors, values: Sequence[torch.Tensor]) -> torch.Tensor:
        taught = run_stack(slice_stack(stack, settings.tiers["ultimate"], "ultimate"), inputs)
        total = hard(taught, values)
        for tier in students:
            found = run_stack(slice_stack(stack, settings.tiers[tier], tier), inputs)
            share = settings.soft_share
            total = total + hard(found, values) * (1 - share) + soft(found, taught) * share
        return total

    ordered = with_tier_parameters(order_by_importance(parent), students)
    return train(ordered, making.benchmark, making.seeds, settings, loss)


def _cost(flops: int, parameters: int, settings: DistilSettings) -> int:
    return training_cost(flops, settings) * 2


distil = register(Operator("distil", 1, 1, DistilSettings, apply, _cost, reads_training=True, is_portable=False))
