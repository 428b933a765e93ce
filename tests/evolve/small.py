"""A campaign small enough for tests: a narrow network on 240 made-up rows, and a driver without processes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evolve.campaign.state import State
from evolve.campaign.transition import begin
from evolve.config.campaign import CampaignConfig, check_config
from evolve.driver.loop import Hands, drive
from evolve.planning.plan import Plan, make_plan
from evolve.recovery.replay import resume
from evolve.recovery.shelf import MemoryShelf
from fitness.benchmarks.benchmark import Benchmark
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.work.work_unit import Evaluator
from population.clock import Clock, ManualClock
from population.lineage.format.records import Commit

MATERIALISE = "evolve.recipes.materialise:materialise"


def values(**changes: Any) -> dict[str, Any]:
    """Returns the plain values of a small config; keyword arguments replace sections."""
    base: dict[str, Any] = {
        "name": "small",
        "benchmark": {"dataset": "arrays"},
        "graph": {
            "inputs": {"input": {"shape": [6], "dtype": "float32"}},
            "symbols": {"hidden": 16},
            "nodes": [
                {"name": "fc", "op": "linear", "inputs": ["input"], "out": "hidden"},
                {"name": "act", "op": "relu", "inputs": ["fc"]},
                {"name": "head", "op": "linear", "inputs": ["act"], "out": 3},
            ],
            "outputs": {"logits": "head"},
        },
        "widths": {"hidden": [8, 16]},
        "objectives": ["accuracy", "flops"],
        "strategy": {"kind": "nsga2", "population": 10},
        "operators": {
            "burst": {"settings": {"steps": 4, "batch": 32}},
            "gaussian": {},
            "self_adapted": {},
            "entropy": {},
            "uniform": {},
            "layerwise": {},
            "mean": {},
        },
        "exploration": 1.0,
        "stop": {"generations": 4},
        "tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "distil": {"steps": 6, "batch": 32}, "finalists": 2},
        "keyframe": 2,
    }
    return {**base, **changes}


def rows(seed: int = 0) -> Benchmark:
    """Returns 240 made-up rows of three classes that a small network can tell apart."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(240, 6)).astype(np.float32)
    targets = (inputs[:, :3] * 2 + rng.normal(size=(240, 3)) * 0.3).argmax(axis=1)
    return Benchmark.from_arrays(inputs, targets)


def plan_of(benchmark: Benchmark | None = None, **changes: Any) -> Plan:
    """Returns the plan of a small campaign."""
    config: CampaignConfig = check_config(values(**changes))
    return make_plan(config, benchmark if benchmark is not None else rows(), sandbox_level="none")


def play(
    plan: Plan,
    *,
    evaluator: Evaluator | None = None,
    after: Sequence[Commit] | None = None,
    clock: Clock | None = None,
    shelf: MemoryShelf | None = None,
) -> tuple[State, list[Commit], MemoryShelf]:
    """Runs a campaign in this process, from its beginning or after these commits.

    Returns its final state, the commits it wrote, and what it published.
    """
    commits: list[Commit] = []
    shelf = shelf or MemoryShelf(plan)
    used = evaluator or InProcessEvaluator(plan.benchmark, MATERIALISE)
    try:
        hands = Hands(used, commits.append, shelf, clock or ManualClock(0.0), lambda state: None, threading.Event())
        turn = begin(plan) if after is None else resume(plan, lambda: after, used)
        state = drive(plan, turn, hands)
    finally:
        used.close()
    return state, commits, shelf


def digests(commits: list[Commit]) -> list[tuple[str, str | None, str, tuple[Mapping[str, Any], ...]]]:
    """Returns what decides whether two lineages are the same: ids, digests, statuses, scores and events."""
    return [
        (name, digest, status, tuple(map(repr, (scores.tolist(), commit.events))))  # type: ignore[misc]
        for commit in commits
        for births in commit.births
        for name, digest, status, scores in zip(
            births.individual, births.weights_digest, births.status, births.scores, strict=True
        )
    ]
