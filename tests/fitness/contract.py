"""What the contract suites of evaluators share: the implementations, and how units are run and compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from fitness.cluster.ray_evaluator import RayEvaluator
from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.judges.judge import Limits, SubprocessJudge
from fitness.work.work_unit import Evaluator, UnitResult, WorkUnit
from tests.fitness.toys import MATERIALISE, PLUGINS, toy_benchmark

LIMITS = Limits(cpu_s=1, wall_s=6.0, memory_bytes=512 << 20)
KINDS = ("inline", "in process", "processes", "ray")
RAY_SLOWLY = pytest.param("ray", marks=pytest.mark.slow)


def build(kind: str, num_workers: int = 1, **keywords: Any) -> Evaluator:
    benchmark = toy_benchmark()
    if kind == "inline":
        return InProcessEvaluator(benchmark, MATERIALISE, plugins=PLUGINS)
    if kind == "in process":
        judge = SubprocessJudge(plugins=PLUGINS, limits=LIMITS)
        return InProcessEvaluator(benchmark, MATERIALISE, judge=judge, plugins=PLUGINS)
    maker: Callable[..., Evaluator] = ProcessEvaluator if kind == "processes" else RayEvaluator
    options = {"num_workers": num_workers, "plugins": PLUGINS, "limits": LIMITS, **keywords}
    return maker(benchmark, MATERIALISE, **options)


def run(evaluator: Evaluator, *units: WorkUnit) -> list[UnitResult]:
    for unit in units:
        evaluator.submit(unit)
    results: list[UnitResult] = []
    deadline = time.monotonic() + 240
    while len(results) < len(units):
        assert time.monotonic() < deadline, "the evaluator does not finish"
        results.extend(evaluator.collect(5.0))
    return sorted(results, key=lambda result: result.unit_id)


def plain(result: UnitResult) -> tuple[Any, ...]:
    """What must be equal to the bit wherever a unit is computed."""
    arrays = (result.scores, result.skills, result.flops)
    return (
        result.unit_id,
        list(result.digests),
        list(result.verdicts),
        list(result.details),
        *((array.shape, array.dtype.str, array.tobytes()) for array in arrays),
    )
