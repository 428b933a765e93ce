"""Chooses who judges: Ray actors, or child processes without Ray.

Nouns: none beyond the evaluator.
"""

from __future__ import annotations

from evolve.plan import Plan
from fitness.evaluator import Evaluator
from fitness.judge import Limits

MATERIALISE = "evolve.materialise:materialise"
LOCAL = "local"


def make_evaluator(plan: Plan) -> Evaluator:
    """Returns the evaluator that ``run.address`` and ``run.workers`` ask for.

    Raises:
        EvaluatorFailed: its workers cannot be had.
    """
    config = plan.config
    limits = Limits.of(config.limits.seconds, config.limits.memory_mib)
    if config.run.address == LOCAL:
        from fitness.processes import ProcessEvaluator

        return ProcessEvaluator(
            plan.benchmark, MATERIALISE, num_workers=config.run.workers, plugins=config.plugins, limits=limits
        )
    from fitness.ray_actors import RayEvaluator

    return RayEvaluator(
        plan.benchmark,
        MATERIALISE,
        num_workers=config.run.workers,
        address=config.run.address or None,
        plugins=config.plugins,
        limits=limits,
    )
