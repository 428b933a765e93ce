"""Gaussian mutation: every weight moves by a normal deviate, at a fixed, a self-adapted or an entropy-adapted rate.

Here *rate* is the standard deviation of the step, as in evolution strategies. All children have the same bits on every
machine: the arithmetic is single float32 multiplications, additions and divisions, without fused operations.

Nouns: *rate*, and the *entropy* H of a parent tensor in nats, over a histogram of 10 equal bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field

from evolve.operators.noise import along, coin_rows, normal_rows
from evolve.operators.registry import Making, Operator, Settings, register
from population.stacks.stack import Stack

NUM_BINS = 10


class FixedSettings(Settings):
    """Attributes: rate: standard deviation of each step, in the unit of the weights."""

    rate: float = Field(default=0.02, gt=0)


class SelfAdaptedSettings(Settings):
    """Attributes: rate: the first individual's rate; factor: the step of adaptation; low, high: bounds of the rate."""

    rate: float = Field(default=0.02, gt=0)
    factor: float = Field(default=1.3, gt=1)
    low: float = Field(default=1e-4, gt=0)
    high: float = Field(default=1.0, gt=0)


class EntropySettings(Settings):
    """Attributes: low, high: bounds of the rate; entropies: H in nats of each of the parent's tensors, recorded."""

    low: float = Field(default=0.005, ge=0)
    high: float = Field(default=0.05, gt=0)
    entropies: Mapping[str, float] = {}


def entropies(stack: Stack, row: int) -> dict[str, float]:
    """Returns H in nats of each tensor of one row: float64, live entries, 10 equal bins between minimum and maximum."""
    found = {}
    for name, values in stack.live_tensors(row).items():
        counts, _ = np.histogram(values.numpy().astype(np.float64), bins=NUM_BINS)
        shares = counts[counts > 0] / max(1, counts.sum())
        found[name] = float(-(shares * np.log(shares)).sum()) + 0.0
    return found


def apply_fixed(making: Making, settings: FixedSettings) -> Stack:
    """Returns ``x + rate * normal``."""
    (parent,) = making.parents
    rate = torch.tensor(settings.rate, dtype=torch.float32)
    moved = {name: x + normal_rows(making.seeds, name, x.shape[1:]) * rate for name, x in parent.tensors.items()}
    return parent.replace(tensors=moved).masked()


def apply_self_adapted(making: Making, settings: SelfAdaptedSettings) -> Stack:
    """Returns ``x + rate' * normal``, where the row's own rate was first multiplied or divided by ``factor``.

    The two-point rule needs no exponential (Beyer and Schwefel 2002, https://doi.org/10.1023/A:1015059928466, sec. 4.2).
    """
    (parent,) = making.parents
    rate = parent.state_or("rate", settings.rate)
    factor = torch.tensor(settings.factor, dtype=torch.float32)
    up = coin_rows(making.seeds, "rate", (), 0.5)
    rate = torch.clamp(torch.where(up, rate * factor, rate / factor), settings.low, settings.high)
    moved = {
        name: x + normal_rows(making.seeds, name, x.shape[1:]) * along(rate, x) for name, x in parent.tensors.items()
    }
    return parent.replace(tensors=moved, state={**parent.state, "rate": rate}).masked()


def apply_entropy_1(making: Making, settings: EntropySettings) -> Stack:
    """Returns ``x * (1 + 0.1 * rate) + normal * rate`` with ``rate = clip(H, low, high)``; kept for comparison.

    H of a trained tensor is near 2 nats, so the rate nearly always stands at ``high``, and weights drift outwards.
    """
    return _entropy_step(
        making, {n: min(max(h, settings.low), settings.high) for n, h in settings.entropies.items()}, 0.1
    )


def apply_entropy_2(making: Making, settings: EntropySettings) -> Stack:
    """Returns ``x + normal * rate`` with ``rate = low + (high - low) * H / ln 10``."""
    span = settings.high - settings.low
    return _entropy_step(
        making, {n: settings.low + span * (h / math.log(NUM_BINS)) for n, h in settings.entropies.items()}, 0.0
    )


def _entropy_step(making: Making, rates: Mapping[str, float], drift: float) -> Stack:
    (parent,) = making.parents
    missing = sorted(set(parent.tensors) - set(rates))
    if missing:
        raise ValueError(f"entropy mutation: the recipe records no entropy of {', '.join(missing)}")
    moved = {}
    for name, x in parent.tensors.items():
        rate = torch.tensor(rates[name], dtype=torch.float32)
        base = x * torch.tensor(1.0 + drift * rates[name], dtype=torch.float32) if drift else x
        moved[name] = base + normal_rows(making.seeds, name, x.shape[1:]) * rate
    return parent.replace(tensors=moved).masked()


def _cost(flops: int, parameters: int, settings: Settings) -> int:
    return 2 * parameters


gaussian = register(Operator("gaussian", 1, 1, FixedSettings, apply_fixed, _cost))
self_adapted = register(Operator("self_adapted", 1, 1, SelfAdaptedSettings, apply_self_adapted, _cost))
entropy_1 = register(Operator("entropy", 1, 1, EntropySettings, apply_entropy_1, _cost, measures_parent=True))
entropy_2 = register(Operator("entropy", 2, 1, EntropySettings, apply_entropy_2, _cost, measures_parent=True))
