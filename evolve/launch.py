"""Launches a campaign in a home: finds it done, goes on with it, or begins it.

Nouns: *summary* (what a campaign ended with, kept beside its config).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from evolve.campaign import begin
from evolve.config import CampaignConfig
from evolve.home import CONFIG_FILE, SUMMARY_FILE, Home
from evolve.levels import check_user_code
from evolve.outcome import Progress, progress_of, summary_of
from evolve.plan import Plan, make_plan
from evolve.publish import StoreShelf
from evolve.replay import resume
from evolve.shell import Hands, drive
from evolve.state import State, Turn
from evolve.tracker import Tracker
from evolve.workers import make_evaluator
from fitness.evaluator import Evaluator
from population.clock import Clock, SystemClock
from population.errors import ConfigError, EvolveError
from population.lineage.records import Commit
from population.lineage.writer import LineageWriter

TIMED_TABLES = {"campaigns": "started"}
HANDLED_TABLES = ("campaigns", "generations", "lifecycle", "blocks")


def launch(
    config: CampaignConfig,
    home: Home,
    *,
    again: bool = False,
    handle: str | None = None,
    progress: Callable[[Progress], None],
    tracker: Tracker,
    interrupted: threading.Event,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Returns the summary of a campaign, computed now or found done in this home.

    Args:
        again: compute it even where it is done, and compare the hashes.
        handle: go on with this campaign of the home, whatever others have the same key.

    Raises:
        Interrupted: asked to end; the lineage is whole, and launching again goes on.
        ConfigError, InvalidGraph: the config does not fit; nothing was computed.
        Locked: another process runs this campaign.
    """
    plan = make_plan(config)
    known = dict(home.campaign_by_key(plan.key.hex()))
    done = [name for name, state in known.items() if state == "done"]
    wanted = handle if handle is not None else done[0] if done and not again else None
    if wanted in done:
        return {**_required_summary(home, str(wanted)), "already_done": True, "again": None}
    unfinished = [name for name, state in known.items() if state in ("interrupted", "running")]
    if wanted is None:
        wanted = unfinished[0] if unfinished and not again else _begin_folder(home, config)
    earlier = next((name for name in done if name != wanted), None)
    return _run(plan, home, wanted, earlier, progress, tracker, interrupted, clock or SystemClock())


def _run(
    plan: Plan,
    home: Home,
    handle: str,
    earlier: str | None,
    progress: Callable[[Progress], None],
    tracker: Tracker,
    interrupted: threading.Event,
    clock: Clock,
) -> dict[str, Any]:
    began = clock.monotonic()
    with LineageWriter(home.files, home.root, handle, clock) as writer:
        evaluator = make_evaluator(plan)
        try:
            plan = replace(plan, sandbox_level=evaluator.sandbox_level)
            check_user_code(plan.config, plan.graph, plan.sandbox_level)
            tracker.begin(handle, plan.config.model_dump(mode="json"), {"campaign_key": plan.key.hex()})
            shelf = StoreShelf(plan, home.block_store())
            turn = _first_turn(plan, home, handle, writer, evaluator, shelf)
            hands = Hands(
                evaluator,
                lambda commit: writer.commit(_signed_off(commit, handle, clock)),
                shelf,
                clock,
                _observer(plan, progress, tracker, clock, began),
                interrupted,
            )
            state = drive(plan, turn, hands)
        finally:
            evaluator.close()
        writer.seal()
    seconds = clock.monotonic() - began
    return _conclude(plan, home, handle, earlier, state, seconds, tracker)


def _first_turn(
    plan: Plan, home: Home, handle: str, writer: LineageWriter, evaluator: Evaluator, shelf: StoreShelf
) -> Turn:
    """Returns the first turn of a new campaign, or the one that goes on after the last commit."""
    if writer.next_step == 0:
        return begin(plan)
    _check_environment(plan, home, handle)
    reader = home.lineage_reader()
    return resume(plan, lambda: reader.commits(handle), evaluator, shelf.stored_row)


def _check_environment(plan: Plan, home: Home, handle: str) -> None:
    first = next(iter(home.lineage_reader().commits(handle)))
    recorded = first.rows["campaigns"][0]["environment"]
    if recorded != plan.environment:
        raise ConfigError(
            f"campaign {handle!r} was begun in another environment, so its bits cannot be continued here. "
            f"Recorded: {recorded}; here: {plan.environment}. Start it anew with --again"
        )


def _signed_off(commit: Commit, handle: str, clock: Clock) -> Commit:
    """Returns the commit with what only the shell knows: the campaign's handle and wall-clock times."""
    rows = {}
    for table, entries in commit.rows.items():
        extra: dict[str, Any] = {"campaign": handle} if table in HANDLED_TABLES else {}
        if table in TIMED_TABLES:
            extra[TIMED_TABLES[table]] = clock.now()
        rows[table] = [{**entry, **extra} for entry in entries]
    return replace(commit, rows=rows)


def _observer(
    plan: Plan, progress: Callable[[Progress], None], tracker: Tracker, clock: Clock, began: float
) -> Callable[[State], None]:
    seen, setup_s = [0], clock.monotonic() - began

    def observe(state: State) -> None:
        report = progress_of(plan, state, clock.monotonic() - began, setup_s)
        progress(report)
        if state.step > seen[0]:
            seen[0] = state.step
            metrics = {f"best_{name}": value for name, value in report.best.items()}
            shares = {f"share_{name.replace('@', '_v')}": value for name, value in report.operator_shares.items()}
            counts = {"evaluations": float(report.evaluations), "evaluations_per_s": report.evaluations_per_s}
            counts |= {
                "flops": report.flops,
                "quarantined": float(report.quarantined),
                "generation": float(report.generation),
            }
            tracker.generation(state.step, {**metrics, **shares, **counts})

    return observe


def _conclude(
    plan: Plan, home: Home, handle: str, earlier: str | None, state: State, seconds: float, tracker: Tracker
) -> dict[str, Any]:
    summary = summary_of(plan, state, handle, home.lineage_reader().content_hash(handle), seconds)
    summary["home"] = str(home.root)
    compared = None
    if earlier is not None:
        before = _required_summary(home, earlier)
        compared = {f"{name}_same": summary[name] == before[name] for name in ("population", "lineage", "champion")}
        compared["earlier"] = earlier
    path = home.campaign_dir(handle) / SUMMARY_FILE
    home.files.write_atomic(path, json.dumps(summary, indent=2).encode() + b"\n", mode=0o644, replace=True)
    tracker.finish(summary, summary["front"])
    return {**summary, "already_done": False, "again": compared}


def _begin_folder(home: Home, config: CampaignConfig) -> str:
    handle = home.new_handle(config.name)
    folder: Path = home.campaign_dir(handle)
    home.files.make_dirs(folder)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    home.files.write_atomic(folder / CONFIG_FILE, text.encode(), mode=0o644)
    return handle


def _required_summary(home: Home, handle: str) -> dict[str, Any]:
    summary = home.summary_of(handle)
    if summary is None:
        raise EvolveError(f"campaign {handle!r} is done but has no summary")
    return summary
