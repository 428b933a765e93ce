"""Studies of tiny campaigns, judged within this process: what is tried, stopped, told failed, and gone on with."""

from __future__ import annotations

import copy
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evolve.campaign.events import Extended
from evolve.campaign.summary import Progress
from evolve.config.campaign import check_config
from evolve.driver.launch import launch
from evolve.driver.requests import Interrupted, RequestFolder
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.recovery.forked_plan import plan_in
from evolve.tracking.protocol import NullTracker
from evolve.tuning.study import STUDY_FILE, Study, Trial, opened
from evolve.tuning.tuning import Means, Tuning, make_tuning, trial_values, tune
from fitness.evaluators.in_process import InProcessEvaluator
from population.errors import DamageError, EvaluatorFailed, Locked, StorageError
from tests.evolve.cli.conftest import CONFIG
from tests.evolve.small import MATERIALISE

RATE = "operators.burst.settings.learning_rate"
#: The config learns at a good rate; nearly all other rates are far too small, so trials fall behind.
BASE: dict[str, Any] = {
    **CONFIG,
    "operators": {"burst": {"settings": {"steps": 10, "batch": 32, "learning_rate": 0.05}}},
    "tiers": None,
    "gates": [],
    "tune": {
        "trials": 4,
        "startup": 2,
        "ranges": {RATE: {"low": 1e-6, "high": 0.05, "log": True}, "exploration": {"low": 0.1, "high": 1.0}},
        "pruner": {"startup": 1, "warmup": 0.0},
    },
}


class Killed(BaseException):
    """Ends a driver in the midst of it."""


def progress(**changes: Any) -> Progress:
    """Returns a progress of which only some fields matter."""
    fields: dict[str, Any] = {
        "phase": "search",
        "generation": 0,
        "evaluations": 0,
        "evaluations_per_s": 0.0,
        "best": {},
        "population": 0,
        "flops": 0.0,
        "seconds": 0.0,
        "seconds_left": None,
        "quarantined": 0,
        "operator_shares": {},
    }
    return Progress(**{**fields, **changes})


class Recorder(NullTracker):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, Mapping[str, str]]] = []
        self.finished: list[tuple[str, str]] = []

    def begin(self, campaign: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        self.begun.append((campaign, dict(tags)))

    def finish(self, summary: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> None:
        self.finished.append((summary["campaign"], summary["state"]))


@pytest.fixture(autouse=True)
def _within_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evolve.driver.launch.make_evaluator", evaluator_of)


def evaluator_of(plan: Plan) -> InProcessEvaluator:
    return InProcessEvaluator(plan.benchmark, MATERIALISE)


def tuning_of(**changes: Any) -> Tuning:
    return make_tuning(copy.deepcopy({**BASE, **changes}), "tiny.yaml")


def go(
    home: Path,
    tuning: Tuning,
    *,
    show: Callable[[Trial, Progress], None] = lambda trial, progress: None,
    trackers: tuple[Recorder, Recorder] | None = None,
    trials: int | None = None,
) -> list[Trial]:
    """Runs a study, or what is left of it, in the home at this path."""
    above, below = trackers or (Recorder(), Recorder())
    made = Home.create(home)
    means = Means(made, above, below, show, lambda trial: None, threading.Event(), lambda text: None)
    assert tuning.config.tune is not None
    with opened(made.files, home, tuning.rules) as study:
        tune(tuning, study, means, trials or tuning.config.tune.trials)
        return study.trials


def without_clocks(trials: Sequence[Trial]) -> list[Any]:
    return [(t.number, t.state, t.settings, t.value, t.values, t.facts["campaign"], t.facts["reason"]) for t in trials]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial], Recorder]:
    """A study that nobody interrupted."""
    home, below = tmp_path_factory.mktemp("reference") / "h", Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evolve.driver.launch.make_evaluator", evaluator_of)
        return home, go(home, tuning_of(), trackers=(Recorder(), below)), below


def test_the_first_trial_is_the_config_and_the_others_lie_in_the_ranges(
    reference: tuple[Path, list[Trial], Recorder],
) -> None:
    _, trials, _ = reference
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert trials[0].settings == {RATE: 0.05, "exploration": 0.3}
    assert trials[0].state == "done"
    assert all(1e-6 <= trial.settings[RATE] <= 0.05 for trial in trials)
    assert len({trial.settings[RATE] for trial in trials}) == 4


def test_the_score_is_what_the_campaign_reports_of_its_champion(reference: tuple[Path, list[Trial], Recorder]) -> None:
    home, trials, _ = reference
    summary = Home.open(home).summary_of("tiny-t0")
    assert summary is not None
    assert trials[0].value == summary["scores"]["ultimate"]["accuracy"]
    assert summary["heldout"] == {}  # nobody looked at held-out rows
    assert Home.open(home).config_of("tiny-t0").promote is None


def test_a_trial_that_lies_behind_is_stopped_and_its_campaign_stays(
    reference: tuple[Path, list[Trial], Recorder],
) -> None:
    home, trials, below = reference
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        handle = trial.facts["campaign"]
        assert handle == f"tiny-t{trial.number}"
        assert trial.value is None
        assert max(trial.values) < 10
        assert trial.values[max(trial.values)] < trials[0].values[max(trial.values)]
        assert "% of the budget" in trial.facts["reason"]
        assert Home.open(home).state_of(handle) == "stopped"
        assert (handle, "pruned") in below.finished
    config = Home.open(home).config_of(handle)
    resumed = launch(
        plan_in(Home.open(home), config, handle=handle),
        Home.open(home),
        handle=handle,
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )
    assert resumed["state"] == "done"  # it goes on like any campaign that was stopped


def test_every_trial_has_a_run_that_names_the_study(reference: tuple[Path, list[Trial], Recorder]) -> None:
    _, trials, below = reference
    assert [(handle, tags["trial"]) for handle, tags in below.begun] == [(f"tiny-t{n}", str(n)) for n in range(4)]
    assert {tags["study"] for _, tags in below.begun} == {tuning_of().rules.name}
    assert len(below.finished) == len(trials)


@pytest.mark.parametrize("after", [pytest.param(3, marks=pytest.mark.slow), 11])
def test_a_study_that_was_cut_short_ends_as_one_that_was_not(
    reference: tuple[Path, list[Trial], Recorder], tmp_path: Path, after: int
) -> None:
    seen = [0]

    def show(trial: Trial, state: Progress) -> None:
        seen[0] += 1
        if seen[0] == after:
            raise Killed

    home = tmp_path / "h"
    with pytest.raises(Killed):
        go(home, tuning_of(), show=show)
    trials = go(home, tuning_of())
    assert without_clocks(trials) == without_clocks(reference[1])
    assert Home.open(home).campaigns() == [f"tiny-t{n}" for n in range(4)]  # none was begun twice


@pytest.mark.slow
def test_a_study_goes_on_when_more_trials_are_asked_for(
    reference: tuple[Path, list[Trial], Recorder], tmp_path: Path
) -> None:
    home = tmp_path / "h"
    assert len(go(home, tuning_of(), trials=2)) == 2
    assert without_clocks(go(home, tuning_of(), trials=4)) == without_clocks(reference[1])


def test_a_campaign_that_was_run_before_gives_the_study_what_it_would_have_seen(
    reference: tuple[Path, list[Trial], Recorder], tmp_path: Path
) -> None:
    home = Home.create(tmp_path / "h")
    tuning = tuning_of()
    for number in (0, 1):  # the second would have been stopped early
        config = check_config(trial_values(tuning, reference[1][number]))
        launch(
            plan_in(home, config),
            home,
            progress=lambda _: None,
            tracker=NullTracker(),
            interrupted=threading.Event(),
        )
    trials = go(home.root, tuning, trials=3)
    for found, wanted in zip(trials, reference[1], strict=False):
        assert (found.state, found.value, found.values) == (wanted.state, wanted.value, wanted.values)
    assert [trial.facts["campaign"] for trial in trials] == ["tiny", "tiny-2", "tiny-t2"]


def test_a_campaign_that_was_extended_is_no_trial_of_equal_budget(
    reference: tuple[Path, list[Trial], Recorder], tmp_path: Path
) -> None:
    """It is found by the key of its config, though it has ended with more than the config's budget."""
    home = Home.create(tmp_path / "h")
    tuning = tuning_of()
    config = check_config(trial_values(tuning, reference[1][0]))
    for extension in (None, Extended(None, 1)):
        launch(
            plan_in(home, config, handle=None if extension is None else "tiny"),
            home,
            handle=None if extension is None else "tiny",
            progress=lambda _: None,
            tracker=NullTracker(),
            interrupted=threading.Event(),
            extension=extension,
        )
    (trial,) = go(home.root, tuning, trials=1)
    assert trial.facts["campaign"] == "tiny-t0"
    assert trial.value == reference[1][0].value


def test_a_combination_that_cannot_be_is_a_failed_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    ranges = {"strategy.settings": {"choices": [{}, {"std": 0.1}]}}
    tuning = tuning_of(
        strategy={**CONFIG["strategy"], "settings": {}}, tune={"ranges": ranges, "trials": 6}, stop={"generations": 1}
    )
    trials = go(tmp_path / "h", tuning)
    failed = [trial for trial in trials if trial.state == "failed"]
    assert failed
    assert {trial.settings["strategy.settings"] for trial in failed} == {'{"std": 0.1}'}
    assert all("strategy.settings" in trial.facts["reason"] for trial in failed)
    assert {trial.state for trial in trials} == {"done", "failed"}
    same = [trial.facts["campaign"] for trial in trials if trial.state == "done"]
    assert set(same) == {"tiny-t0"}  # equal settings are one campaign, computed once


def test_a_campaign_whose_workers_die_is_a_failed_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(plan: Plan) -> InProcessEvaluator:
        if plan.config.name.endswith("-t1"):
            raise EvaluatorFailed("the workers were killed for memory")
        return evaluator_of(plan)

    monkeypatch.setattr("evolve.driver.launch.make_evaluator", dying)
    trials = go(tmp_path / "h", tuning_of(), trials=3)
    assert [trial.state for trial in trials][:2] == ["done", "failed"]
    assert trials[1].facts["reason"] == "the workers were killed for memory"
    assert trials[2].state in ("done", "pruned")


def test_a_machine_that_fails_ends_the_study_and_not_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(plan: Plan) -> InProcessEvaluator:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("evolve.driver.launch.make_evaluator", full)
        with pytest.raises(StorageError):
            go(tmp_path / "h", tuning_of(), trials=1)
    (trial,) = go(tmp_path / "h", tuning_of(), trials=1)
    assert trial.state == "done"


def test_somebody_who_stops_the_campaign_ends_the_study_which_can_be_gone_on_with(tmp_path: Path) -> None:
    home = tmp_path / "h"

    def show(trial: Trial, state: Progress) -> None:
        requests = RequestFolder(Home.open(home).files, home / "campaigns" / "tiny-t0")
        driver = requests.driver()
        assert driver is not None
        requests.ask("stop", driver["token"])

    with pytest.raises(Interrupted):
        go(home, tuning_of(), show=show, trials=1)
    (trial,) = go(home, tuning_of(), trials=1)
    assert trial.state == "done"


def test_two_studies_are_not_run_in_one_home_at_once(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    rules = tuning_of().rules
    with opened(home.files, home.root, rules), pytest.raises(Locked), opened(home.files, home.root, rules):
        raise AssertionError("not reached")


def test_several_studies_lie_in_one_home(tmp_path: Path) -> None:
    home = tmp_path / "h"
    go(home, tuning_of(), trials=1)
    trials = go(home, tuning_of(seed=1), trials=1)
    assert [trial.number for trial in trials] == [0]
    assert len(go(home, tuning_of(), trials=1)) == 1


@pytest.mark.parametrize("garbage", [b"no database", b"SQLite format 3\0" + b"\1" * 4096])
def test_a_file_that_holds_no_studies_is_told_of(tmp_path: Path, garbage: bytes) -> None:
    home = Home.create(tmp_path / "h")
    (home.root / STUDY_FILE).write_bytes(garbage)
    with pytest.raises(DamageError, match="move it away"), opened(home.files, home.root, tuning_of().rules):
        raise AssertionError("not reached")


def test_tables_that_were_half_made_are_made_anew(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    with sqlite3.connect(home.root / f"{STUDY_FILE}.making") as half:
        half.execute("CREATE TABLE studies (study_id INTEGER)")
    half.close()
    with opened(home.files, home.root, tuning_of().rules) as study:
        assert isinstance(study, Study)
        assert study.trials == []


def test_the_plan_of_a_trial_is_that_of_its_config() -> None:
    tuning = tuning_of()
    trial = Trial(3, "running", {RATE: 0.01}, None, {}, {})
    config = check_config(trial_values(tuning, trial))
    assert make_plan(config).config.operators["burst"].settings["learning_rate"] == 0.01
    assert config.promote is not None  # the config that is printed promotes; a trial's campaign does not
