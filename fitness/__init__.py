"""How candidates are judged: benchmarks, work units, judges in processes of their own, evaluators, held-out looks.

Names are imported when they are first used, so that naming a benchmark does not load torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Benchmark": "fitness.benchmarks.benchmark",
    "HeldoutTest": "fitness.measures.heldout_tests",
    "Evaluator": "fitness.work.work_unit",
    "InProcessEvaluator": "fitness.evaluators.in_process",
    "InlineJudge": "fitness.judges.judge",
    "Judge": "fitness.judges.judge",
    "Judging": "fitness.work.work_unit",
    "KernelPlan": "fitness.judges.tile_plan",
    "Limits": "fitness.judges.judge",
    "Objective": "fitness.benchmarks.benchmark",
    "ProcessEvaluator": "fitness.evaluators.child_processes",
    "RayEvaluator": "fitness.cluster.ray_evaluator",
    "SubprocessJudge": "fitness.judges.judge",
    "UnitResult": "fitness.work.work_unit",
    "WorkUnit": "fitness.work.work_unit",
    "judge_stack": "fitness.scoring.judge_rows",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fitness' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
