"""The library's front door: a campaign in memory, or in a home with all that the command does.

Nouns: *result* (what a campaign found).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve.campaign.state import State
from evolve.campaign.summary import Progress, progress_of, summary_of
from evolve.campaign.transition import begin
from evolve.config.campaign import CampaignConfig, PromoteConfig, check_config
from evolve.driver.carry_out import Watch, carry_out
from evolve.driver.loop import Hands, drive
from evolve.driver.trackers import tracking
from evolve.home.home import Home
from evolve.models.founder import with_model
from evolve.planning.isolation_rules import check_user_code
from evolve.planning.plan import Plan, make_plan
from evolve.promotion.promote import Decision
from evolve.recipes.materialise import MATERIALISE
from evolve.recovery.forked_plan import plan_in
from evolve.recovery.shelf import MemoryShelf
from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.judges.judge import Limits
from fitness.work.task import Task
from population.blocks.block import TensorBlock, load_block
from population.clock import SystemClock
from population.errors import ConfigError
from population.lineage.format.records import Commit


@dataclass(frozen=True)
class Result:
    """What a campaign found. summary: as ``evolve run --json`` prints it; commits: its whole lineage, in order; decision: the
    gate's, where the champion was to be promoted."""

    champion: TensorBlock | None
    summary: Mapping[str, Any]
    commits: tuple[Commit, ...]
    decision: Decision | None = None


def run(
    config: CampaignConfig | Mapping[str, Any],
    benchmark: Task | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    home: str | os.PathLike[str] | None = None,
    promote: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Returns the result of a campaign: in memory, or in a home as ``evolve run`` does it.

    Args:
        config: a typed config, or plain values as a YAML file has them.
        benchmark: your own data, for a campaign in memory; the config names them otherwise.
        workers: processes; the result does not depend on how many. By default one, and in a home what the config says.
        progress: is told how it goes.
        home: the folder of a home, made where there is none: the campaign is kept, shown in MLflow, found done or resumed.
        promote: the head to promote the champion to, in the place of the config's; the gate decides. Needs a home.
        say: is told in words what is done besides.

    Raises:
        ConfigError, InvalidGraph, BenchmarkError: something does not fit, or the jail is not what
            ``run.accept_level`` asks for code of others; nothing was computed.
    """
    typed = config if isinstance(config, CampaignConfig) else check_config(config)
    tell = progress or (lambda _: None)
    if home is None:
        if promote is not None:
            raise ConfigError(f"promote={promote!r}: a head lies in a home; name its folder, e.g. home='.evolve'")
        return _in_memory(make_plan(typed, benchmark), workers or 1, tell)
    if benchmark is not None:
        raise ConfigError("benchmark: a home keeps the data of its campaigns; name them in the config (data.path)")
    changed: dict[str, Any] = {}
    if promote is not None:
        changed["promote"] = (typed.promote or PromoteConfig(name=promote)).model_copy(update={"name": promote})
    if workers is not None:
        changed["run"] = typed.run.model_copy(update={"workers": workers})
    return _in_home(typed.model_copy(update=changed), Home.create(Path(home)), tell, say)


def _in_home(
    config: CampaignConfig, home: Home, progress: Callable[[Progress], None], say: Callable[[str], None]
) -> Result:
    config, origin = with_model(config, home) if config.model is not None else (config, None)
    plan = plan_in(home, config, origin=origin)
    watching = nullcontext(Watch(progress, threading.Event()))
    with tracking(home, say) as tracker:
        found = carry_out(plan, home, watching=watching, tracker=tracker, say=say)
    block = found.summary["champion"]
    champion = load_block(home.block_store(), block) if block else None
    commits = tuple(home.lineage_reader().commits(found.summary["campaign"]))
    return Result(champion, found.summary, commits, found.decision)


def _in_memory(plan: Plan, workers: int, progress: Callable[[Progress], None]) -> Result:
    clock = SystemClock()
    began = clock.monotonic()
    shelf = MemoryShelf(plan)
    commits: list[Commit] = []
    limits = Limits.of(plan.config.limits.seconds, plan.config.limits.memory_mib)
    evaluator = ProcessEvaluator(plan.benchmark, MATERIALISE, num_workers=workers, plugins=plan.plugins, limits=limits)

    def observe(state: State) -> None:
        progress(progress_of(plan, state, clock.monotonic() - began))

    try:
        check_user_code(plan.config.run.accept_level, plan.foreign_code, evaluator.sandbox_level)
        hands = Hands(evaluator, commits.append, shelf, clock, observe, threading.Event())
        state = drive(plan, begin(plan), hands)
    finally:
        evaluator.close()
    summary = summary_of(plan, state, plan.config.name, "", clock.monotonic() - began)
    return Result(shelf.block, summary, tuple(commits))
