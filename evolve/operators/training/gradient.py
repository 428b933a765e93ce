"""Gradient descent on a whole stack at once: every row trained on its own minibatches by its own seed.

All rows live in one flat buffer ``theta [P, D]``; a loss per row is summed, so that gradients never mix. Within one
environment a row's bits do not depend on its neighbours.

Nouns: *theta*, and the *loss* ``(tensors, inputs, targets) -> [P]`` that a caller passes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from evolve.operators.noise import stream_of
from evolve.operators.registry import Settings
from fitness.benchmarks.benchmark import Benchmark
from population.randomness import integers
from population.stacks.stack import Stack

Tensors = Mapping[str, torch.Tensor]
#: ``(stack, inputs [P, *shape, B], values of every target [P, B] or [P, B, D]) -> loss [P]``
Loss = Callable[[Stack, Tensors, Sequence[torch.Tensor]], torch.Tensor]


class TrainingSettings(Settings):
    """What one training takes.

    Attributes:
        steps: optimiser steps. batch: samples a step (rounded up to a multiple of 16 by validation).
        optimiser: "adamw" (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, alg. 2) or "sgd" with momentum.
        learning_rate, weight_decay, momentum: as usual; schedule: of the learning rate over the steps.
        smoothing: label smoothing (Szegedy et al. 2016).
    """

    steps: int = Field(default=20, ge=1, le=100_000)
    batch: int = Field(default=128, ge=16, le=65_536, multiple_of=16)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine"] = "constant"
    smoothing: float = Field(default=0.0, ge=0, lt=1)


def train(stack: Stack, benchmark: Benchmark, seeds: Sequence[int], settings: TrainingSettings, loss: Loss) -> Stack:
    """Returns the stack after ``settings.steps`` steps on training rows; the argument is not modified.

    Randomness: one stream of minibatch indices per row, drawn with replacement from that row's seed.
    """
    names = sorted(stack.tensors)
    shapes = [stack.tensors[name].shape for name in names]
    sizes = [math.prod(shape[1:]) for shape in shapes]
    theta = torch.cat([stack.tensors[name].reshape(stack.num_rows, -1) for name in names], dim=1)
    masks = stack.live_masks()
    mask = torch.cat([masks[n].reshape(stack.num_rows, -1) for n in names], dim=1) if masks else None
    step = _adamw(theta, settings) if settings.optimiser == "adamw" else _sgd(settings)
    inputs, targets = _training_rows(benchmark)
    picks = _minibatches(len(targets[0]), seeds, settings)
    for index in range(settings.steps):
        leaf = theta.detach().requires_grad_(True)
        pieces = torch.split(leaf, sizes, dim=1)
        current = stack.replace(tensors={n: p.reshape(s) for n, p, s in zip(names, pieces, shapes, strict=True)})
        chosen = picks[:, index]
        batch = {
            channel: values[chosen].movedim(1, -1).contiguous() for channel, values in inputs.items()
        }  # [P, *shape, B]
        value = loss(current, batch, [values[chosen] for values in targets]).sum()
        (gradient,) = torch.autograd.grad(value, leaf)
        if mask is not None:
            gradient = gradient * mask
        theta = step(theta, gradient, index, _rate_at(index, settings))
    pieces = torch.split(theta, sizes, dim=1)
    trained = {n: p.reshape(s).contiguous() for n, p, s in zip(names, pieces, shapes, strict=True)}
    return stack.replace(tensors=trained).masked()


def training_cost(flops: int, settings: TrainingSettings) -> int:
    """Returns counted FLOPs of a training: a backward pass counts twice a forward pass."""
    return 3 * flops * settings.batch * settings.steps


def _training_rows(benchmark: Benchmark) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    inputs = {channel: torch.from_numpy(values) for channel, values in benchmark.inputs_of("train").items()}
    return inputs, [torch.from_numpy(values) for values in benchmark.targets_of("train")]


def _minibatches(num_rows: int, seeds: Sequence[int], settings: TrainingSettings) -> torch.Tensor:
    count = settings.steps * settings.batch
    drawn = np.stack([integers(seed, stream_of("minibatch"), count, num_rows) for seed in seeds])
    return torch.from_numpy(drawn).reshape(len(seeds), settings.steps, settings.batch)


def _rate_at(index: int, settings: TrainingSettings) -> float:
    if settings.schedule == "constant":
        return settings.learning_rate
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * index / settings.steps))


Step = Callable[[torch.Tensor, torch.Tensor, int, float], torch.Tensor]


def _adamw(theta: torch.Tensor, settings: TrainingSettings, beta1: float = 0.9, beta2: float = 0.99) -> Step:
    moment, second = torch.zeros_like(theta), torch.zeros_like(theta)

    def step(theta: torch.Tensor, gradient: torch.Tensor, index: int, rate: float) -> torch.Tensor:
        moment.mul_(beta1).add_(gradient, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = math.sqrt(1 - beta2 ** (index + 1)) / (1 - beta1 ** (index + 1))
        shrunk = theta * (1 - rate * settings.weight_decay)
        return shrunk.addcdiv_(moment, second.sqrt().add_(1e-8), value=-rate * scale)

    return step


def _sgd(settings: TrainingSettings) -> Step:
    velocity: list[torch.Tensor] = []

    def step(theta: torch.Tensor, gradient: torch.Tensor, index: int, rate: float) -> torch.Tensor:
        gradient = gradient + settings.weight_decay * theta
        velocity[:] = [gradient if not velocity else velocity[0] * settings.momentum + gradient]
        return theta - rate * velocity[0]

    return step
