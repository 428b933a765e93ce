"""What a campaign reports: progress while it runs, and its summary when it is over.

Nouns: *progress*, *summary* (the JSON object that scripts rely on: fields may be added, never renamed).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evolve.campaign.front import FrontPoint, tier_names
from evolve.campaign.lineage_rows import population_id
from evolve.campaign.state import State
from evolve.planning.plan import Plan
from evolve.recipes.recipe import individual_id


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands. best: natural (unsigned) value by objective; seconds_left: estimate, None if unknown."""

    phase: str
    generation: int
    evaluations: int
    evaluations_per_s: float
    best: Mapping[str, float]
    population: int
    flops: float
    seconds: float
    seconds_left: float | None
    quarantined: int
    operator_shares: Mapping[str, float]


def progress_of(plan: Plan, state: State, seconds: float, setup_s: float = 0.0) -> Progress:
    """Returns the progress of a state after so many seconds, of which the first ``setup_s`` went into starting workers."""
    generation = plan.strategy.generation(state.strategy)
    return Progress(
        phase=state.phase,
        generation=generation,
        evaluations=state.evaluations,
        evaluations_per_s=state.evaluations / (seconds - setup_s) if seconds > setup_s else 0.0,
        best=best_of(plan, state),
        population=len(plan.strategy.members(state.strategy)),
        flops=state.flops,
        seconds=seconds,
        seconds_left=_seconds_left(plan, state, generation, seconds - setup_s),
        quarantined=state.quarantined,
        operator_shares=plan.strategy.shares(state.strategy),
    )


def best_of(plan: Plan, state: State) -> dict[str, float]:
    """Returns the best member's objectives as users see them."""
    objectives = {objective.name: objective for objective in plan.benchmark.objectives}
    return {n: objectives[n].signed(v) for n, v in zip(plan.config.objectives, state.best, strict=False)}


def _seconds_left(plan: Plan, state: State, generation: int, seconds: float) -> float | None:
    stop = plan.config.stop
    limits = {"generations": stop.generations, "evaluations": stop.evaluations, "flops": stop.flops}
    limits = dict(state.limits) if state.limits else {**limits, "seconds": stop.seconds}
    reached = {"generations": generation, "evaluations": state.evaluations, "flops": state.flops, "seconds": seconds}
    parts = [reached[name] / limit for name, limit in limits.items() if limit]
    done = max(parts, default=0.0)
    return None if done <= 0 else max(0.0, seconds * (1.0 / done - 1.0))


def summary_of(plan: Plan, state: State, campaign: str, lineage: str, seconds: float) -> dict[str, Any]:
    """Returns the summary of a finished campaign; of one on a table, with what was found in it."""
    made = plan.benchmark.preparation
    told = {} if made is None else {"data": dict(made.report)}
    return {
        **told,
        "campaign": campaign,
        "state": "done" if state.block else "failed",
        "seed": plan.config.seed,
        "generations": plan.strategy.generation(state.strategy),
        "evaluations": state.evaluations,
        "population": population_id(plan, state),
        "lineage": lineage,
        "champion": state.block,
        "individual": individual_id(plan.key, state.champion) if state.champion is not None else None,
        "scores": _scores(plan, state),
        "heldout": {},
        "benchmark": plan.benchmark_name,
        "objective": plan.config.objectives[0],
        "metric": plan.benchmark.principal,
        "campaign_key": plan.key.hex(),
        "reason": state.reason,
        "extended": dict(state.limits),
        "inexact": state.num_inexact,
        "seconds": seconds,
        "flops": state.flops,
        "quarantined": state.quarantined,
        "front": [_front_value(plan, point) for point in state.front],
        "operators": _operators(plan, state),
    }


def _scores(plan: Plan, state: State) -> dict[str, dict[str, float]]:
    if state.champion is None or state.champion not in state.judged:
        return {}
    _, scores, _ = state.judged[state.champion]
    names = [objective.name for objective in plan.benchmark.objectives]
    tiers = tier_names(plan, len(scores))
    return {
        tier: {n: float(v) for n, v in zip(names, row, strict=True)} for tier, row in zip(tiers, scores, strict=True)
    }


def _front_value(plan: Plan, point: FrontPoint) -> dict[str, Any]:
    names = [objective.name for objective in plan.benchmark.objectives]
    individual = individual_id(plan.key, point.event)
    values = dict(zip(names, point.values, strict=True))
    return {"individual": individual, "operator": point.operator, "tier": point.tier, **values, "flops": point.flops}


def _operators(plan: Plan, state: State) -> list[dict[str, Any]]:
    lead = plan.benchmark.objectives[plan.columns[0]]
    return [
        {
            "operator": name,
            "births": tally.births,
            "best": lead.signed(tally.best) if tally.best > float("-inf") else None,
            "flops": tally.flops,
        }
        for name, tally in sorted(state.tally.items())
    ]
