"""The lineage rows that a campaign writes: births by columns, and the few rare rows of a step.

The campaign's handle and wall-clock times are not known here; the shell adds them to rows that want them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from blake3 import blake3

from evolve.campaign.events import Published
from evolve.campaign.front import tiers_of
from evolve.campaign.state import State
from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import individual_id
from evolve.recipes.work_units import BatchResult
from evolve.strategies import Judged, Outcome
from population.lineage.format.records import Births, Measure


def births_of(
    plan: Plan,
    batch: Batch,
    result: BatchResult,
    outcome: Outcome,
    judged: Judged,
    repeats: Mapping[int, int],
    generation: int,
) -> Births:
    """Returns the births of a told batch, one row each, survivors or not."""
    tiers = tiers_of(plan, result)
    count = len(batch.recipes)
    names = [objective.name for objective in plan.benchmark.objectives]
    return Births(
        measures=_measures(plan, batch, tiers, names),
        skill_measures=_measures(plan, batch, tiers, plan.benchmark.skills),
        tiers=tiers,
        num_samples=plan.benchmark.num_samples(batch.split),
        sandbox_level=plan.sandbox_level,
        environment=plan.environment,
        event=np.array(batch.events, dtype=np.int64),
        individual=[individual_id(plan.key, event) for event in batch.events],
        operator=[recipe.operator for recipe in batch.recipes],
        seed=np.array([recipe.seed for recipe in batch.recipes], dtype=np.uint64),
        settings=[recipe.settings for recipe in batch.recipes],
        inputs=[tuple(digest.hex() for digest in recipe.inputs) for recipe in batch.recipes],
        parents=[tuple(plan.individual(event) for event in p.parents) for p in batch.recipes],
        roles=[recipe.roles for recipe in batch.recipes],
        generation=np.full(count, generation, dtype=np.int64),
        species=[plan.species] * count,
        coordinate=[coordinate(generation, position) for position in range(count)],
        weights_digest=[digest.hex() if digest is not None else None for digest in result.digests],
        status=[_status(verdict, told) for verdict, told in zip(result.verdicts, outcome.statuses, strict=True)],
        verdict=list(result.verdicts),
        detail=list(result.details),
        repeat_of=[individual_id(plan.key, repeats[p]) if p in repeats else "" for p in range(count)],
        flops=result.flops,
        scores=result.scores.reshape(count, len(tiers) * len(names)),
        skills=result.skills.reshape(count, len(tiers) * len(plan.benchmark.skills)),
    )


def _measures(plan: Plan, batch: Batch, tiers: Sequence[str], names: Sequence[str]) -> tuple[Measure, ...]:
    return tuple(Measure(plan.benchmark_name, batch.split, tier, name) for tier in tiers for name in names)


def coordinate(generation: int, position: int) -> str:
    """Returns the coordinate that a birth is given: layer 0, group 0, top nest 2, x its place in the batch, y its
    generation, z 0."""
    return f"L0_G0_N2_{position}:{generation}:0"


def _status(verdict: str, told: str) -> str:
    return told if verdict == "ok" else "quarantined"


def campaign_row(plan: Plan, state: str) -> dict[str, Any]:
    """Returns the ``campaigns`` row for a change of state."""
    origin = plan.origin
    return {
        "campaign_key": plan.key.hex(),
        "config_hash": plan.config.config_hash,
        "seed": plan.config.seed,
        "state": state,
        **({"forked_from": origin.campaign, "forked_at": origin.step} if origin and not origin.is_import else {}),
        "config": plan.config.model_dump(mode="json"),
        "environment": plan.environment,
    }


def generation_row(plan: Plan, state: State, births: int) -> dict[str, Any]:
    """Returns the ``generations`` row of a told batch."""
    objectives = {objective.name: objective for objective in plan.benchmark.objectives}
    best = {n: objectives[n].signed(v) for n, v in zip(plan.config.objectives, state.best, strict=False)}
    return {
        "generation": plan.strategy.generation(state.strategy),
        "step": state.step,
        "evaluations": state.evaluations,
        "births": births,
        "best": best,
        "population": population_id(plan, state),
        "front_size": len(state.front),
    }


def population_id(plan: Plan, state: State) -> str:
    """Returns one hash over the population: BLAKE3 of its sorted (individual, weights digest) pairs, hex."""
    events = set(plan.strategy.members(state.strategy)) | ({state.champion} if state.champion is not None else set())
    digests = {event: state.judged[event][0] for event in events if event in state.judged}
    pairs = sorted(f"{individual_id(plan.key, event)} {digest.hex()}" for event, digest in digests.items() if digest)
    return blake3("\n".join(pairs).encode()).hexdigest()


def lifecycle_rows(plan: Plan, step: int, outcome: Outcome) -> Sequence[dict[str, Any]]:
    """Returns one row for every member that left the population."""
    return [
        {
            "individual": individual_id(plan.key, event),
            "step": step,
            "status": "archived",
            "reason": "left the population",
        }
        for event in outcome.left
    ]


def blocks_row(plan: Plan, event: Published, tiers: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Returns the ``blocks`` row of the published champion."""
    assert event.champion is not None
    individual = individual_id(plan.key, event.champion)
    return {"block": event.block, "individual": individual, "tiers": dict(tiers), "bytes": event.size_bytes}
