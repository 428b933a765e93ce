"""What a look at held-out rows is decided by: floors for a first head, a paired test a tier for a later one.

Nouns: *terms* (the level, floors and margin of one look), *question* (as in ``evolve.promotion.ledger``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evolve.planning.isolation_rules import objections_to
from evolve.planning.plan import Plan
from evolve.promotion.heldout import SPLIT, HeldoutScores, Merits
from evolve.promotion.ledger import question_of
from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.heldout_tests import (
    DEFAULT_MARGIN,
    HeldoutTest,
    first_head_decision,
    paired_decision,
    paired_mean_decision,
)
from fitness.processes.isolation import FULL
from fitness.work.task import Task
from population.store.heads import Head


@dataclass(frozen=True)
class GateSettings:
    """What the caller of a promotion asks of a block; None leaves it to the campaign's config."""

    floors: Mapping[str, float] | None
    margin: float | None
    accepted_level: str = FULL


@dataclass(frozen=True)
class Terms:
    """What a look is decided by. evidence: what is known so far of what the decision rests on."""

    look: int
    alpha: float
    floors: Mapping[str, float]
    margin: float
    accepted_level: str = FULL
    evidence: dict[str, Any] = field(default_factory=dict)


def terms_of(row: Mapping[str, Any], standing: Head | None, plan: Plan, settings: GateSettings) -> Terms:
    """Returns what a promotion is decided by, before it has a look, and the question that it answers among the evidence."""
    section = plan.config.promote
    own: dict[str, float] = {str(tier): floor for tier, floor in section.floors.items()} if section else {}
    floors = dict(settings.floors) if settings.floors is not None else own
    margin = settings.margin if settings.margin is not None else section.margin if section else DEFAULT_MARGIN
    digest, metric = plan.benchmark.digest(SPLIT).hex(), plan.benchmark.principal
    facts = {"environment": plan.environment, "floors": floors, "margin": margin, "metric": metric}
    asked = {**facts, "benchmark": digest, "level": settings.accepted_level, "campaign_key": plan.key.hex()}
    question = question_of(row, standing, asked)
    evidence = {"benchmark": digest, "benchmark_name": plan.benchmark_name, "question": question, **facts}
    return Terms(0, 0.0, floors, margin, settings.accepted_level, evidence)


def tests_of(findings: Sequence[HeldoutScores], terms: Terms, task: Task) -> list[HeldoutTest]:
    """Returns the tests that must all be passed: floors for a first head, a paired test a tier for a later one."""
    weak = objections_to(terms.evidence["sandbox_level"], terms.accepted_level)
    if weak:
        return [HeldoutTest(False, tuple(weak))]
    for finding, whose in zip(findings, ("it", "the head that stands"), strict=False):
        if not finding.is_ok:
            return [
                HeldoutTest(
                    False, (f"{whose} could not be judged on held-out rows: {finding.verdict}: {finding.detail}",)
                )
            ]
    if len(findings) == 1:
        metric = task.principal
        values = {tier: scores.get(metric, math.nan) for tier, scores in findings[0].scores.items()}
        test = first_head_decision(values, terms.floors, metric)
        return [test if terms.floors else HeldoutTest(True, ("nothing stood before, and no floors are set",))]
    new, old = (finding.merits for finding in findings)
    paired = [(tier, _paired(new[tier], old[tier], terms, task)) for tier in old]
    return [replace(test, reasons=tuple(f"{tier}: {reason}" for reason in test.reasons)) for tier, test in paired]


def _paired(new: Merits, old: Merits, terms: Terms, task: Task) -> HeldoutTest:
    """Returns the paired test of a tier: rows that are right or wrong are counted, other merits averaged."""
    if isinstance(task, Benchmark) and [target.kind for target in task.targets] == ["classes"]:
        return paired_decision(new > 0, old > 0, terms.alpha, terms.margin)
    return paired_mean_decision(new, old, terms.alpha, terms.margin)
