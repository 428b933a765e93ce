"""Chooses who judges: Ray actors, or child processes without Ray.

Nouns: none beyond the evaluator.
"""

from __future__ import annotations

import os
import sys

from evolve.planning.plan import Plan
from evolve.recipes.materialise import MATERIALISE
from fitness.judges.judge import Limits
from fitness.work.work_unit import Evaluator

LOCAL = "local"
#: Bounds of the object store that our own Ray gets: so many bytes at least, such a share of the memory at most.
LEAST_STORE_BYTES = 128 << 20
MOST_STORE_SHARE = 0.3
#: How often a population's rows may lie in the store at once: parents, children under way, copies on their way.
COPIES_IN_STORE = 8


def make_evaluator(plan: Plan) -> Evaluator:
    """Returns the evaluator that ``run.address`` and ``run.workers`` ask for.

    Raises:
        EvaluatorFailed: its workers cannot be had.
    """
    config = plan.config
    limits = Limits.of(config.limits.seconds, config.limits.memory_mib)
    if config.run.address == LOCAL:
        from fitness.evaluators.child_processes import ProcessEvaluator

        return ProcessEvaluator(
            plan.benchmark, MATERIALISE, num_workers=config.run.workers, plugins=plan.plugins, limits=limits
        )
    from fitness.cluster.ray_evaluator import RayEvaluator

    return RayEvaluator(
        plan.benchmark,
        MATERIALISE,
        num_workers=config.run.workers,
        address=config.run.address or None,
        plugins=plan.plugins,
        limits=limits,
        object_store_bytes=object_store_bytes(plan),
        tell=_tell,
    )


def object_store_bytes(plan: Plan) -> int:
    """Returns the size of the object store: what the data and the rows of some populations need, within bounds."""
    rows = plan.graph.bytes(plan.graph.symbols) * plan.problem.population * COPIES_IN_STORE
    data = 2 * plan.benchmark.size_bytes
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(LEAST_STORE_BYTES + rows + data, int(memory * MOST_STORE_SHARE))


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
