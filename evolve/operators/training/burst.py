"""``burst``: a gradient burst, n optimiser steps on training rows, as one more mutation.

Bits are kept within one environment. Nouns: *burst*.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evolve.operators.registry import Making, Operator, register
from evolve.operators.training.gradient import Tensors, TrainingSettings, train, training_cost
from evolve.operators.training.losses import training_loss
from population.stacks.interpreters import run_stack
from population.stacks.stack import Stack


def apply(making: Making, settings: TrainingSettings) -> Stack:
    """Returns each parent after ``steps`` optimiser steps on the benchmark's loss over its own minibatches."""
    (parent,) = making.parents
    if making.benchmark is None:
        raise ValueError("burst reads training rows: pass a benchmark")
    loss_of = training_loss(making.benchmark, [name for name, _ in making.graph.outputs], settings.smoothing)

    def loss(stack: Stack, inputs: Tensors, values: Sequence[torch.Tensor]) -> torch.Tensor:
        return loss_of(run_stack(stack, inputs), values)

    return train(parent, making.benchmark, making.seeds, settings, loss)


def _cost(flops: int, parameters: int, settings: TrainingSettings) -> int:
    return training_cost(flops, settings)


burst = register(Operator("burst", 1, 1, TrainingSettings, apply, _cost, reads_training=True, is_portable=False))
