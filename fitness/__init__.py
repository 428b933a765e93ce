"""How candidates are judged: benchmarks, work units, judges in processes of their own, evaluators, held-out looks.

Names are imported when they are first used, so that naming a benchmark does not load torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Benchmark": "fitness.benchmark",
    "Decision": "fitness.looks",
    "Evaluator": "fitness.evaluator",
    "InProcessEvaluator": "fitness.inprocess",
    "InlineJudge": "fitness.judge",
    "Judge": "fitness.judge",
    "Judging": "fitness.evaluator",
    "KernelPlan": "fitness.plan",
    "Limits": "fitness.judge",
    "Objective": "fitness.benchmark",
    "ProcessEvaluator": "fitness.processes",
    "RayEvaluator": "fitness.ray_actors",
    "SubprocessJudge": "fitness.judge",
    "UnitResult": "fitness.evaluator",
    "WorkUnit": "fitness.evaluator",
    "judge_stack": "fitness.judging",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fitness' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
