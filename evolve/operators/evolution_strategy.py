"""The two operators of an evolution strategy: ``perturb`` makes a sample of the distribution, ``openai_es`` updates it.

The distribution (centre, Adam moments, step count) is a row like any other: its tensors are the centre, its state values
the moments. Same bits on every machine: single float32 operations, sums over the population in event order.

Source: Salimans et al. 2017, https://arxiv.org/abs/1703.03864, alg. 1 with mirrored sampling and rank shaping (sec. 2.1);
Adam: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, alg. 1.

Nouns: *centre*, *mirrored pair* (two samples that share their noise with opposite sign).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from evolve.operators.noise import normal_rows
from evolve.operators.registry import Making, Operator, Settings, register
from population.randomness import derive_seed
from population.stacks.stack import Stack


class PerturbSettings(Settings):
    """Attributes: std: standard deviation of the noise; sign: +1 or -1, which half of a mirrored pair."""

    std: float = Field(gt=0)
    sign: int = Field(ge=-1, le=1)


class UpdateSettings(Settings):
    """Attributes: std: of the samples; learning_rate, beta1, beta2, epsilon: of Adam; decay: of the centre a step;
    noise: root of the pairs' seeds; first_event: of the population whose scores the recipe's input holds."""

    std: float = Field(gt=0)
    learning_rate: float = Field(gt=0)
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay: float = Field(default=0.0, ge=0)
    noise: int
    first_event: int


def pair_seed(noise: int, pair: int) -> int:
    """Returns the seed that both halves of mirrored pair number ``pair`` draw their noise from."""
    return derive_seed(noise.to_bytes(8, "little"), pair, 0, "perturb@1")


def apply_perturb(making: Making, settings: PerturbSettings) -> Stack:
    """Returns ``centre + sign * std * normal``, without the centre's moments."""
    (centre,) = making.parents
    step = torch.tensor(settings.sign * settings.std, dtype=torch.float32)
    moved = {name: x + normal_rows(making.seeds, name, x.shape[1:]) * step for name, x in centre.tensors.items()}
    return centre.replace(tensors=moved, state={}).masked()


def apply_update(making: Making, settings: UpdateSettings) -> Stack:
    """Returns the next centre: one Adam step along the rank-shaped estimate of the fitness gradient.

    The first input is the population's fitness, little-endian float64 in event order, larger is better.
    """
    (centre,) = making.parents
    shaped = centred_ranks(np.frombuffer(making.inputs[0], dtype="<f8"))
    pairs = len(shaped) // 2
    weights = shaped[0::2] - shaped[1::2]
    steps = centre.state_or("adam.t", 0.0) + 1.0
    count = int(steps[0].item())
    tensors, state = {}, {"adam.t": steps}
    for name, x in centre.tensors.items():
        gradient = _gradient(name, x.shape[1:], weights, settings.noise)[None] / (2.0 * pairs * settings.std)
        moment = centre.state_or(f"adam.m/{name}", 0.0, x.shape[1:]) * settings.beta1 + gradient * (1 - settings.beta1)
        second = centre.state_or(f"adam.v/{name}", 0.0, x.shape[1:]) * settings.beta2
        second = second + (gradient * gradient) * (1 - settings.beta2)
        rate = settings.learning_rate * math.sqrt(1 - settings.beta2**count) / (1 - settings.beta1**count)
        moved = (moment * rate) / (_root(second) + settings.epsilon)
        tensors[name] = x * (1.0 - settings.decay) + moved
        state[f"adam.m/{name}"], state[f"adam.v/{name}"] = moment, second
    return centre.replace(tensors=tensors, state=state).masked()


def _root(values: torch.Tensor) -> torch.Tensor:
    """Returns square roots rounded as IEEE 754 says; torch's own go through a library whose last bit differs by machine."""
    return torch.from_numpy(np.sqrt(values.numpy()))


def centred_ranks(fitness: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Returns ranks scaled to [-0.5, 0.5]; NaN ranks last, equal values share their mean rank."""
    values = np.where(np.isnan(fitness), -np.inf, fitness)
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values), dtype=np.float64)
    ranks[order] = np.arange(len(values))
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    sums = np.zeros(len(counts))
    np.add.at(sums, inverse, ranks)
    shared = (sums / counts)[inverse]
    return (shared / max(1, len(values) - 1) - 0.5).astype(np.float32)


def _gradient(name: str, shape: Sequence[int], weights: npt.NDArray[np.float32], noise: int) -> torch.Tensor:
    total = torch.zeros(tuple(shape), dtype=torch.float32)
    for pair, weight in enumerate(weights):
        total = total + normal_rows([pair_seed(noise, pair)], name, shape)[0] * torch.tensor(weight)
    return total


def _cost(flops: int, parameters: int, settings: Settings) -> int:
    return 2 * parameters


perturb = register(Operator("perturb", 1, 1, PerturbSettings, apply_perturb, _cost))
openai_es = register(Operator("openai_es", 1, 1, UpdateSettings, apply_update, _cost, draws=False))
