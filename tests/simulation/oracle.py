"""What workers answer: the real result of a unit, computed once and then known to all seeds.

Nouns: *oracle* (results by what a unit says), *doom* (units that no worker ever answers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from evolve.recipes.materialise import materialise
from fitness.benchmarks.benchmark import Benchmark
from fitness.evaluators.worker import Worker
from fitness.judges.judge import InlineJudge
from fitness.judges.tile_plan import DEFAULT_PLANS
from fitness.work.object_table import kept_rows
from fitness.work.work_unit import UnitResult, WorkUnit
from population.stacks.stack import Stack

Answer = tuple[UnitResult, dict[bytes, bytes]]


def said_by(unit: WorkUnit) -> tuple[Any, ...]:
    """Returns what a unit says, as a key; its graph is its campaign's."""
    tiers = tuple((tier, tuple(widths.items())) for tier, widths in unit.judging.tiers.items())
    recipes = (unit.parents, unit.inputs, unit.operators, unit.settings, unit.candidates.tobytes())
    return (unit.unit_id, *recipes, unit.judging.split, tiers, unit.keep)


class Oracle:
    """Answers units as a worker does, inline; the same unit is computed once."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._worker = Worker(benchmark, materialise, InlineJudge(), DEFAULT_PLANS)
        self._known: dict[tuple[Any, ...], Answer] = {}
        self._made: dict[tuple[Any, ...], Stack] = {}

    def answer(self, unit: WorkUnit, read: Callable[[bytes], bytes]) -> Answer:
        """Returns the result of a unit and the rows that are kept. Raises what ``read`` raises, known or not."""
        parents = [read(digest) for digest in unit.parents]
        key = said_by(unit)
        if key not in self._known:
            result, rows = self._worker.evaluate(unit, read)
            plain = replace(result, incidents=())
            self._known[key] = (plain, dict(kept_rows(unit, plain, rows)))
        assert all(parents)
        return self._known[key]

    def make(self, unit: WorkUnit, read: Callable[[bytes], bytes], benchmark: Benchmark) -> Stack:
        """Makes a unit's children, as ``materialise`` does, once."""
        key = said_by(unit)[1:]
        if key not in self._made:
            self._made[key] = materialise(unit, read, benchmark)
        return self._made[key]


@dataclass(frozen=True)
class Doom:
    """Units that fail at every try, in every life. pattern: which ones; -1 for none."""

    pattern: int = -1

    def falls_on(self, unit: WorkUnit) -> bool:
        """Whether no worker ever answers this unit."""
        return self.pattern >= 0 and (unit.unit_id * 2654435761 + self.pattern * 40503) % 1009 < 101
