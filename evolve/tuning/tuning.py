"""Tunes a campaign's own settings: a study of trials, each of them a campaign of this home with settings of its own.

The first trial is the config as it stands. A trial's score is what its campaign reports of its champion on validation rows;
held-out rows are never looked at. A trial that lies behind is stopped as `evolve stop` would do it: its campaign stays in the
lineage and can be resumed. A campaign that fails, or a combination that cannot be, is a failed trial, and the study goes on.

Nouns: *tuning* (a study with all that its trials have in common), *watch* (what looks at one trial's campaign as it runs).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from evolve.campaign.summary import Progress, progress_of
from evolve.campaign.transition import begin
from evolve.config.campaign import CampaignConfig, StopConfig, canonical, check_config
from evolve.driver.launch import launch
from evolve.driver.requests import Interrupted, RequestFolder
from evolve.home.home import Home
from evolve.home.origins import campaign_by_key
from evolve.planning.plan import Plan, make_plan
from evolve.recovery.forked_plan import plan_in
from evolve.recovery.replay import replay
from evolve.tracking.protocol import Tracker
from evolve.tuning.search_space import Space, check_tier, make_space, objective_of
from evolve.tuning.study import PARTS, Rules, Study, Trial
from population.errors import (
    ConfigError,
    DamageError,
    EvaluatorFailed,
    EvolveError,
    InfrastructureError,
    JailUnavailable,
)

#: So much of a config's name is left in the names of its trials' campaigns.
MAX_NAME = 56
EXAMPLE = "tune: {ranges: {exploration: {low: 0.1, high: 0.9}}}"


@dataclass(frozen=True)
class Tuning:
    """What the trials of a study have in common."""

    config: CampaignConfig
    space: Space
    rules: Rules
    objective: str
    where: str


@dataclass(frozen=True)
class Means:
    """What trials are run with. show: is told of every state of a running campaign; ended: of every trial that has ended.

    study_tracker shows the study; trial_tracker its trials, below it.
    """

    home: Home
    study_tracker: Tracker
    trial_tracker: Tracker
    show: Callable[[Trial, Progress], None]
    ended: Callable[[Trial], None]
    interrupted: threading.Event
    say: Callable[[str], None]
    disk_wait_s: float | None = None


def make_tuning(values: Mapping[str, Any], where: str) -> Tuning:
    """Returns what is tuned, and how, of a config's plain values.

    Raises:
        ConfigError, InvalidGraph: the config cannot be run as it stands, has no section ``tune``, or one that does not fit it.
    """
    config = check_config(values, where)
    if config.tune is None:
        raise ConfigError(f"{where}: there is nothing to tune: add a section like {EXAMPLE}")
    plan = make_plan(config)
    objective = objective_of(config, where)
    check_tier(config.tune, plan, where)
    space = make_space(values, plan, where)
    directions = {found.name: found.direction for found in plan.benchmark.objectives}
    rules = Rules(
        name=_name_of(config),
        is_maximised=directions[objective] == "max",
        ranges=config.tune.ranges,
        start=space.start,
        startup=config.tune.startup,
        pruner=config.tune.pruner,
    )
    return Tuning(config, space, rules, objective, where)


def uneven_budget(tuning: Tuning) -> str | None:
    """Returns why trials do not cost alike, in one line; None where they do."""
    stop = tuning.config.stop
    if stop.flops is not None:
        return None
    dear = [key for key in tuning.rules.ranges if key == "strategy.population" or key.startswith("operators.")]
    if not dear:
        return None
    return f"trials do not cost alike: {dear[0]} is tuned, and stop.flops is not set (it counts making and judging)"


def tune(tuning: Tuning, study: Study, means: Means, limit: int) -> None:
    """Runs trials until the study has ``limit`` of them, failed and pruned ones among them.

    Raises:
        Interrupted: asked to end, or somebody stopped the trial's campaign; the next call goes on with that trial.
        InfrastructureError, DamageError: the machine or the home fails, not the trial; likewise.
    """
    begun = {**tuning.config.model_dump(mode="json", exclude={"run"}), "tune": _tuned(tuning.config)}
    means.study_tracker.begin(study.rules.name, begun, {"campaign_key": study.rules.name, "kind": "study"})
    while (trial := study.next(limit)) is not None:
        if means.interrupted.is_set():
            raise Interrupted("interrupted; the study goes on where it stopped")
        ended = _run(tuning, study, means, trial)
        best = study.best
        values = {"trial": ended.value, "best": best.value if best else None}
        told = {f"{name}_{tuning.objective}": value for name, value in values.items() if value is not None}
        means.study_tracker.generation(ended.number, told)
        means.ended(ended)
    means.study_tracker.finish(_outcome(tuning, study), [])


def trial_values(tuning: Tuning, trial: Trial) -> dict[str, Any]:
    """Returns the config of a trial as plain values, as `evolve run` takes it."""
    return tuning.space.applied(trial.settings)


def _run(tuning: Tuning, study: Study, means: Means, trial: Trial) -> Trial:
    """Runs one trial's campaign, or what is left of it; returns the trial as it ended."""
    began = time.monotonic()
    watch = _Watch(tuning, study, means, trial)
    try:
        config = _config_of(tuning, trial)
        plan = plan_in(means.home, config)
        watch.look_back(plan)
        state, value, reason = _judged(tuning, watch, plan)
    except (DamageError, JailUnavailable):
        raise
    except EvolveError as error:
        if isinstance(error, InfrastructureError) and not isinstance(error, EvaluatorFailed):
            raise
        state, value, reason = "failed", None, str(error)
    watch.conclude(state, reason)
    facts = {"campaign": watch.handle, "seconds": time.monotonic() - began, "reason": reason}
    return study.tell(trial.number, state, value, **facts)


def _judged(tuning: Tuning, watch: _Watch, plan: Plan) -> tuple[str, float | None, str]:
    """Returns how a trial ends, its value if it has one, and the reason if it has none."""
    summary = watch.launch(plan) if not watch.pruned else None
    if watch.pruned:
        return "pruned", None, watch.pruned
    assert summary is not None
    if summary["state"] != "done":
        return "failed", None, "no candidate could be judged"
    assert tuning.config.tune is not None
    value = summary["scores"].get(tuning.config.tune.tier, {}).get(tuning.objective)
    if value is None or not math.isfinite(value):
        return "failed", None, f"its champion has no {tuning.objective} (found {value})"
    return "done", float(value), ""


class _Watch:
    """Looks at the campaign of one trial as it runs, and has it stopped where the study says so.

    Attributes:
        handle: the campaign's, once it is known. pruned: why it is to be stopped; empty while it is not.
    """

    def __init__(self, tuning: Tuning, study: Study, means: Means, trial: Trial) -> None:
        self.handle, self.pruned = "", ""
        self._tuning, self._study, self._means, self._trial = tuning, study, means, trial
        self._part, self._known, self._is_spoilt = 0, "", False
        self._summary: dict[str, Any] = {}
        self._is_shown = False

    def launch(self, plan: Plan) -> dict[str, Any] | None:
        """Returns the summary of the campaign; None where it was stopped for the study."""
        try:
            self._summary = launch(
                plan,
                self._means.home,
                handle=self._known or None,
                again=self._is_spoilt,
                progress=self._observe,
                tracker=_Relay(self._means.trial_tracker, self._begin),
                interrupted=self._means.interrupted,
                say=self._means.say,
                disk_wait_s=self._means.disk_wait_s,
            )
        except Interrupted as ended:
            if not (self.pruned and ended.state == "stopped"):
                raise
            return None
        self.handle = self._summary["campaign"]
        if not self._is_shown:  # it was found done
            self._begin(self.handle, plan.config.model_dump(mode="json"), {"campaign_key": plan.key.hex()})
            self._means.trial_tracker.finish(self._summary, self._summary["front"])
        return self._summary

    def look_back(self, plan: Plan) -> None:
        """Looks at what the home knows of this trial's campaign already: it was begun before the driver was killed, or by
        somebody else. The study is told what it would have been told then."""
        known = dict(campaign_by_key(self._means.home, plan.key.hex()))
        equal = {handle: state for handle, state in known.items() if not self._was_extended(handle)}
        self._is_spoilt = bool(known) and not equal
        self._known = next((handle for handle, state in equal.items() if state == "done"), next(iter(equal), ""))
        for progress in _history(self._means.home, plan, self._known) if self._known else ():
            if self._look(progress):
                self._begin(self._known, plan.config.model_dump(mode="json"), {"campaign_key": plan.key.hex()})
                return

    def _was_extended(self, handle: str) -> bool:
        """Whether a campaign has ended with more than its budget, which no trial may have."""
        return bool((self._means.home.summary_of(handle) or {}).get("extended"))

    def conclude(self, state: str, reason: str) -> None:
        """Ends the run of a campaign that did not come to its own end."""
        if self._is_shown and state != "done" and not self._summary:
            self._means.trial_tracker.finish({"campaign": self.handle, "state": state, "reason": reason}, [])

    def _begin(self, campaign: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self.handle, self._is_shown = campaign, True
        named = {"study": self._study.rules.name, "trial": str(self._trial.number)}
        self._means.trial_tracker.begin(campaign, config, {**tags, **named})

    def _observe(self, progress: Progress) -> None:
        self._means.show(self._trial, progress)
        if self._look(progress):
            requests = RequestFolder(self._means.home.files, self._means.home.campaign_dir(self.handle))
            driver = requests.driver()
            assert driver is not None, "the campaign that shows its progress has a driver"
            requests.ask("stop", str(driver["token"]))

    def _look(self, progress: Progress) -> bool:
        """Reports the best value at the end of every part of the budget that was reached; returns whether the campaign is
        to be stopped now."""
        value = progress.best.get(self._tuning.objective)
        is_over = self.pruned or progress.phase in ("publish", "done")
        if value is None or not math.isfinite(value) or is_over:
            return False
        reached = spent_parts(self._tuning.config.stop, progress)
        while self._part < reached and not self.pruned:
            self._part += 1
            if self._study.report(self._trial.number, self._part, value):
                share = _share(self._tuning.config.stop, self._part)
                self.pruned = f"{self._tuning.objective} {value:.4g} after {share}"
        return bool(self.pruned)


class _Relay:
    """A tracker that passes everything on but the beginning, of which somebody else makes more."""

    def __init__(self, inner: Tracker, begin: Callable[[str, Mapping[str, Any], Mapping[str, str]], None]) -> None:
        self.begin = begin
        self.generation, self.finish = inner.generation, inner.finish
        self.promoted, self.close = inner.promoted, inner.close


def spent_parts(stop: StopConfig, progress: Progress) -> int:
    """Returns how many parts of its budget a campaign has spent; its generations where only other rules stop it."""
    limits = (
        (stop.generations, progress.generation),
        (stop.evaluations, progress.evaluations),
        (stop.flops, progress.flops),
    )
    shares = [spent / limit for limit, spent in limits if limit]
    return min(PARTS, math.floor(max(shares) * PARTS + 1e-9)) if shares else progress.generation


def _share(stop: StopConfig, part: int) -> str:
    is_counted = stop.generations or stop.evaluations or stop.flops
    return f"{part / PARTS:.0%} of the budget" if is_counted else f"generation {part}"


def _history(home: Home, plan: Plan, handle: str) -> Iterator[Progress]:
    """Yields how a campaign of this home stood after each of its commits."""
    reader = home.lineage_reader()
    if handle not in reader.handles():
        return
    state = begin(plan).state
    for commit in reader.commits(handle):
        state = replay(plan, [commit], state)
        yield progress_of(plan, state, 0.0)


def _config_of(tuning: Tuning, trial: Trial) -> CampaignConfig:
    """Returns the config of a trial's campaign: named by the trial, and without a head to promote to."""
    config = check_config(trial_values(tuning, trial), tuning.where)
    return config.model_copy(update={"name": f"{config.name[:MAX_NAME]}-t{trial.number}", "promote": None})


def _tuned(config: CampaignConfig) -> dict[str, Any]:
    """Returns what decides what a study tries; how many trials it makes is not among it."""
    assert config.tune is not None
    return config.tune.model_dump(mode="json", exclude={"trials"})


def _name_of(config: CampaignConfig) -> str:
    """Returns a study's name: the campaign's, and a hash of all that decides what the study does."""
    digest = blake3(
        canonical({"config": config.hashed, "tune": _tuned(config)}), derive_key_context="evolve 2026 study"
    )
    return f"{config.name}-{digest.hexdigest(6)}"


def _outcome(tuning: Tuning, study: Study) -> dict[str, Any]:
    """Returns the study as its run in MLflow shows it."""
    assert tuning.config.tune is not None
    best = study.best
    scores = {tuning.config.tune.tier: {tuning.objective: best.value}} if best else {}
    return {
        "campaign": study.rules.name,
        "state": "done" if best else "failed",
        "seed": tuning.config.seed,
        "scores": scores,
        "best": dict(best.settings) if best else {},
        "trials": [trial_facts(trial) for trial in study.trials],
    }


def trial_facts(trial: Trial) -> dict[str, Any]:
    """Returns a trial as plain values for scripts: fields may be added, never renamed."""
    return {
        "trial": trial.number,
        "state": trial.state,
        "value": trial.value,
        "campaign": trial.facts.get("campaign") or None,
        "settings": dict(trial.settings),
        "reason": trial.facts.get("reason", ""),
        "seconds": trial.facts.get("seconds"),
        "values": {str(part): value for part, value in trial.values.items()},
    }
