"""`evolve tune` through the program: killed and gone on with, shown in MLflow, and its YAML run."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from evolve.config.campaign import load_config, read_config
from evolve.home.home import Home
from evolve.home.origins import campaign_by_key
from evolve.tuning.study import opened
from evolve.tuning.tuning import make_tuning, trial_values
from tests.evolve.cli.conftest import Answer, Program, command, environment, run_apart, write_config
from tests.evolve.whole import Driver, num_commits

TUNE = {
    "trials": 2,
    "startup": 1,
    "ranges": {"operators.burst.settings.learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
    "pruner": {"kind": "none"},
}
SHORT = {"tune": TUNE, "tiers": None, "gates": [], "promote": None}


@dataclass(frozen=True)
class Tuned:
    """A study that was killed in its second trial and gone on with: its home, its config, what the second call printed."""

    home: Path
    config: Path
    answer: Answer


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned")
    config, home = write_config(folder, **SHORT), folder / "home"
    with Driver(command("tune", config, "--home", home)) as driver:  # its MLflow is dead
        assert driver.wait_for(lambda: num_commits(home, "tiny-t1") >= 2)
        driver.process.kill()
    assert Home.open(home).state_of("tiny-t0") == "done"
    assert Home.open(home).state_of("tiny-t1") == "interrupted"
    answer = run_apart("tune", config, "--home", home, env=environment())
    assert answer.code == 0, answer.err
    return Tuned(home, config, answer)


@pytest.mark.slow
def test_a_study_that_was_killed_is_gone_on_with_no_trial_lost_or_done_twice(tuned: Tuned) -> None:
    assert "2 of 2 trials are there" in tuned.answer.err
    assert re.findall(r"^trial +(\d+)  accuracy", tuned.answer.err, re.MULTILINE) == ["1"]
    assert "Traceback" not in tuned.answer.err
    home = Home.open(tuned.home)
    assert home.campaigns() == ["tiny-t0", "tiny-t1"]
    tuning = make_tuning(read_config(tuned.config), "tiny.yaml")
    with opened(home.files, home.root, tuning.rules) as study:
        trials, best = study.trials, study.best
    assert [(trial.number, trial.state, trial.facts["campaign"]) for trial in trials] == [
        (0, "done", "tiny-t0"),
        (1, "done", "tiny-t1"),
    ]
    assert trials[0].settings == {"operators.burst.settings.learning_rate": 0.003}
    for trial in trials:
        summary = home.summary_of(trial.facts["campaign"])
        assert summary is not None
        assert trial.value == summary["scores"]["ultimate"]["accuracy"]
    assert best is not None
    assert best.value == max(trial.value or 0.0 for trial in trials)
    assert yaml.safe_load(tuned.answer.out) == trial_values(tuning, best)


@pytest.mark.slow
def test_what_it_prints_is_the_config_of_the_best_campaign(tuned: Tuned, tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(tuned.answer.out)
    found = campaign_by_key(Home.open(tuned.home), load_config(path).key.hex())
    assert len(found) == 1
    assert found[0][1] == "done"
    assert f"Trial {found[0][0][-1]} of the study" in tuned.answer.out


@pytest.mark.slow
def test_what_it_prints_is_run_and_a_study_that_is_done_is_shown(tuned: Tuned, tmp_path: Path) -> None:
    best = tmp_path / "best.yaml"
    best.write_text(tuned.answer.out)
    answer = run_apart("run", best, "--json", "--home", tuned.home)
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    assert summary["already_done"]
    again = run_apart("tune", tuned.config, "--json", "--home", tuned.home)
    found = json.loads(again.out)
    assert [(trial["trial"], trial["state"]) for trial in found["trials"]] == [(0, "done"), (1, "done")]
    assert found["best"]["trial"] == found["ranking"][0]
    assert found["best"]["campaign"] == summary["campaign"]
    assert found["config"] == yaml.safe_load(tuned.answer.out)


@pytest.mark.slow
def test_trials_are_runs_below_the_run_of_the_study(tuned: Tuned) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tuned.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("evolve")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    (name,) = [name for name in runs if "-t" not in name]
    assert sorted(set(runs) - {name}) == ["tiny-t1"]  # the first was told to a dead server
    study = runs.pop(name)
    for run in runs.values():
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.info.status == "FINISHED"
        assert "best_accuracy" in run.data.metrics
    assert study.info.status == "FINISHED"
    assert study.data.params["tune.ranges.operators.burst.settings.learning_rate.low"] == "0.001"
    assert study.data.metrics["best_accuracy"] == study.data.metrics["final.validation.ultimate.accuracy"]


@pytest.mark.slow
def test_other_commands_read_a_home_with_a_study(tuned: Tuned, program: Program) -> None:
    status = json.loads(program("status", "--json", "--home", tuned.home).out)
    assert [entry["campaign"] for entry in status] == ["tiny-t0", "tiny-t1"]
    sql = "SELECT count(DISTINCT campaign) AS n FROM campaigns"
    assert json.loads(program("query", sql, "--format", "json", "--home", tuned.home).out) == [{"n": 2}]
    assert program("fsck", "lineage", "--home", tuned.home).code == 0
    assert program("upgrade", "--home", tuned.home).code == 0


def refused(program: Program, tmp_path: Path, words: list[str], *arguments: str, **changes: Any) -> None:
    answer = program("tune", write_config(tmp_path, **changes), *arguments, "--home", tmp_path / "h")
    assert (answer.code, answer.out) == (2, ""), answer
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err
    assert not (tmp_path / "h").exists()


def test_a_config_without_a_section_is_refused_by_a_line_that_shows_one(program: Program, tmp_path: Path) -> None:
    refused(program, tmp_path, ["tiny.yaml", "nothing to tune", "tune: {ranges: {exploration:"])


def test_wrong_ranges_are_refused_before_anything_is_made(program: Program, tmp_path: Path) -> None:
    refused(program, tmp_path, ["tune.ranges.nothing"], tune={"ranges": {"nothing": {"low": 1, "high": 2}}})
    refused(program, tmp_path, ["--trials"], "--trials", "0", **SHORT)
    refused(program, tmp_path, ["stop.generatoins"], "stop.generatoins=3", **SHORT)


def test_a_config_with_a_section_is_a_campaign_like_any_other(program: Program, tmp_path: Path) -> None:
    wrong = write_config(tmp_path, **{**SHORT, "tune": {"trails": 3, "ranges": TUNE["ranges"]}})
    answer = program("run", wrong, "--home", tmp_path / "h")
    assert answer.code == 2
    assert "tune.trails" in answer.err


@pytest.mark.slow
def test_ctrl_c_ends_a_study_after_the_step_and_the_same_command_goes_on(tmp_path: Path) -> None:
    config, home = write_config(tmp_path, **SHORT), tmp_path / "h"
    with Driver(command("tune", config, "--home", home)) as driver:
        assert driver.wait_for(lambda: num_commits(home, "tiny-t0") >= 2)
        driver.process.send_signal(signal.SIGINT)
        code, out, err = driver.finish()
    assert (code, out) == (130, ""), err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    answer = run_apart("tune", config, "--trials", "1", "--json", "--home", home, timeout_s=200)
    assert [trial["state"] for trial in json.loads(answer.out)["trials"]] == ["done"]
