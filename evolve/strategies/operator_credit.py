"""Operator choice by credit per cost: what an operator gained, divided by what it cost, with exploration.

Nouns: *gain* (how much a child exceeds its best parent, never negative), *cost* (counted FLOPs), *share* (the probability
of an operator). Adaptive pursuit by probability matching: Thierens 2005, https://doi.org/10.1145/1068009.1068251, sec. 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from population.randomness import words


@dataclass(frozen=True)
class Credit:
    """What each operator of a portfolio has earned. Shapes: K operators.

    Attributes:
        names: operator names, in a fixed order. prior: their weights before anything is known.
        gain, cost: decayed sums of gains and of counted FLOPs; decay: what is kept of them a generation.
        exploration: the part of the choice that follows the prior for ever, in [0, 1].
    """

    names: tuple[str, ...]
    prior: tuple[float, ...]
    gain: tuple[float, ...]
    cost: tuple[float, ...]
    decay: float = 0.8
    exploration: float = 0.3

    @classmethod
    def start(cls, weights: Mapping[str, float], exploration: float) -> Credit:
        """Returns the credit of a portfolio of which nothing is known."""
        names = tuple(sorted(weights))
        total = sum(weights[name] for name in names)
        zeros = (0.0,) * len(names)
        return cls(names, tuple(weights[name] / total for name in names), zeros, zeros, exploration=exploration)

    def shares(self) -> tuple[float, ...]:
        """Returns the probability of each operator: ``exploration * prior + (1 - exploration) * rate / sum(rates)``."""
        rates = [gain / cost if cost > 0 else 0.0 for gain, cost in zip(self.gain, self.cost, strict=True)]
        total = sum(rates)
        if total <= 0:
            return self.prior
        kept = 1.0 - self.exploration
        return tuple(self.exploration * p + kept * rate / total for p, rate in zip(self.prior, rates, strict=True))

    def choose(self, seed: int, stream: int, count: int) -> list[str]:
        """Returns ``count`` operator names drawn by their shares; the draw is a pure function of seed and stream."""
        edges = np.cumsum(self.shares())
        places = np.searchsorted(edges, words(seed, stream, count) / 65_536.0, side="right")
        return [self.names[min(int(place), len(self.names) - 1)] for place in places]

    def updated(self, earned: Sequence[tuple[str, float, float]]) -> Credit:
        """Returns the credit after a generation. Args: earned: (operator, gain >= 0, cost > 0) for each child, in order."""
        gain = [value * self.decay for value in self.gain]
        cost = [value * self.decay for value in self.cost]
        for name, won, paid in earned:
            place = self.names.index(name)
            gain[place] += won
            cost[place] += paid
        return Credit(self.names, self.prior, tuple(gain), tuple(cost), self.decay, self.exploration)
