"""The front of a campaign: judgements that no other dominates; and what each operator did so far.

Nouns: *front point* (a non-dominated judgement), *tally* (what an operator did so far).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.work_units import BatchResult
from evolve.strategies.selection import front_rows


@dataclass(frozen=True)
class Tally:
    """What an operator did so far: births, best signed leading objective, counted FLOPs."""

    births: int = 0
    best: float = float("-inf")
    flops: float = 0.0

    def with_birth(self, score: float, flops: float) -> Tally:
        """Returns the tally with one more birth; NaN scores count as a birth and nothing else."""
        best = self.best if math.isnan(score) else max(self.best, score)
        return Tally(self.births + 1, best, self.flops + flops)


@dataclass(frozen=True)
class FrontPoint:
    """A judgement on validation rows that no other dominates in leading objective and FLOPs."""

    event: int
    tier: str
    operator: str
    values: tuple[float, ...]
    flops: int

    @staticmethod
    def extend(
        plan: Plan, front: tuple[FrontPoint, ...], batch: Batch, result: BatchResult, repeats: Mapping[int, int]
    ) -> tuple[FrontPoint, ...]:
        """Returns the front after a batch: leading objective against FLOPs, each tier of a birth a point of its own.

        Repeats (positions) are left out: their first birth stands for them, and they were not judged again.
        """
        if batch.split != "validation":
            return front
        tiers = tiers_of(plan, result)
        found = list(front)
        scores, flops = result.scores.tolist(), result.flops.tolist()
        for position, (event, recipe) in enumerate(zip(batch.events, batch.recipes, strict=True)):
            for place, tier in enumerate(tiers):
                values = tuple(scores[position][place])
                if position not in repeats and not any(map(math.isnan, values)):
                    found.append(FrontPoint(event, tier, recipe.operator, values, flops[position][place]))
        if not found:
            return ()
        lead = plan.columns[0]
        sign = 1.0 if plan.benchmark.objectives[lead].direction == "max" else -1.0
        table = np.array([[sign * point.values[lead], -float(point.flops)] for point in found])
        _, first = np.unique(table, axis=0, return_index=True)
        kept = set(front_rows(table)) & set(first.tolist())
        return tuple(sorted((found[row] for row in kept), key=lambda point: (point.flops, point.event)))


def tiers_of(plan: Plan, result: BatchResult) -> tuple[str, ...]:
    """Returns the names of the tiers a result holds: all of the campaign's in order, or the ultimate one alone."""
    return tier_names(plan, result.scores.shape[1])


def tier_names(plan: Plan, count: int) -> tuple[str, ...]:
    """Returns the names of so many judged tiers."""
    return tuple(plan.fractions) if count == len(plan.fractions) else ("ultimate",)
