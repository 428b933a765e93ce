"""The library's front door: a campaign without Ray, MLflow or a home.

Nouns: *result* (what a campaign leaves in memory).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evolve.campaign.summary import Progress, progress_of, summary_of
from evolve.campaign.transition import begin
from evolve.config.campaign import CampaignConfig, check_config
from evolve.driver.loop import Hands, drive
from evolve.planning.isolation_rules import check_user_code
from evolve.planning.plan import make_plan
from evolve.recovery.shelf import MemoryShelf
from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.judges.judge import Limits
from fitness.work.task import Task
from population.blocks.block import TensorBlock
from population.clock import SystemClock
from population.lineage.format.records import Commit


@dataclass(frozen=True)
class Result:
    """What a campaign found. summary: as ``evolve run --json`` prints it; commits: its whole lineage, in order."""

    champion: TensorBlock | None
    summary: Mapping[str, Any]
    commits: tuple[Commit, ...]


def run(
    config: CampaignConfig | Mapping[str, Any],
    benchmark: Task | None = None,
    *,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Returns the result of a campaign judged in child processes of this machine.

    Args:
        config: a typed config, or plain values as a YAML file has them.
        benchmark: your own data; the config's ``benchmark`` section names one otherwise.
        workers: processes; the result does not depend on how many.

    Raises:
        ConfigError, InvalidGraph, BenchmarkError: something does not fit, or the jail is not what
            ``run.accept_level`` asks for code of others; nothing was computed.
    """
    typed = config if isinstance(config, CampaignConfig) else check_config(config)
    plan = make_plan(typed, benchmark)
    clock = SystemClock()
    began = clock.monotonic()
    shelf = MemoryShelf(plan)
    commits: list[Commit] = []
    limits = Limits.of(typed.limits.seconds, typed.limits.memory_mib)
    evaluator = ProcessEvaluator(
        plan.benchmark,
        "evolve.recipes.materialise:materialise",
        num_workers=workers,
        plugins=plan.plugins,
        limits=limits,
    )
    try:
        hands = Hands(
            evaluator,
            commits.append,
            shelf,
            clock,
            lambda state: progress(progress_of(plan, state, clock.monotonic() - began)) if progress else None,
            threading.Event(),
        )
        check_user_code(typed.run.accept_level, plan.foreign_code, evaluator.sandbox_level)
        state = drive(plan, begin(plan), hands)
    finally:
        evaluator.close()
    summary = summary_of(plan, state, typed.name, "", clock.monotonic() - began)
    return Result(shelf.block, summary, tuple(commits))
