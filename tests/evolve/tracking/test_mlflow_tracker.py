from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evolve.tracking.mlflow_tracker import MlflowTracker, flatten, front_figure
from evolve.tracking.protocol import Tracker

CONFIG = {"name": "digits", "stop": {"generations": 3}, "graph": {"nodes": ["x" * 2000]}, "seed": 7}
TAGS = {"campaign_key": "ab" * 32}
SUMMARY = {
    "campaign": "digits",
    "state": "done",
    "seed": 7,
    "generations": 3,
    "population": "p" * 64,
    "champion": "bafychampion",
    "scores": {"lite": {"accuracy": 0.9}, "ultimate": {"accuracy": 0.95}},
}
FRONT = [
    {"individual": "a", "tier": "lite", "accuracy": 0.9, "flops": 100},
    {"individual": "a", "tier": "ultimate", "accuracy": 0.95, "flops": 900},
]


def uri_of(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A client of a store to which one whole campaign was told, and what it cost."""
    home = tmp_path_factory.mktemp("home")
    tracker: Tracker = MlflowTracker(uri_of(home), home / "mlartifacts")
    started = time.monotonic()
    tracker.begin("digits", CONFIG, TAGS)
    for step in range(30):
        tracker.generation(step, {"accuracy": step / 30, "bad": float("nan"), "flops@lite": 12.0})
    tracker.finish(SUMMARY, FRONT)
    told_s = time.monotonic() - started
    tracker.close(120)
    from mlflow import MlflowClient

    return MlflowClient(uri_of(home), uri_of(home)), tracker, told_s, home


def only_run(client: Any) -> Any:
    experiment = client.get_experiment_by_name("evolve")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_a_campaign_is_one_run_with_its_config_tags_scores_and_metrics_by_generation(shown: Any) -> None:
    client, tracker, _, _ = shown
    run = only_run(client)
    assert tracker.problem is None
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "digits"
    assert run.data.params["stop.generations"] == "3"
    assert len(run.data.params["graph.nodes"]) == 500
    assert run.data.tags["evolve.campaign_key"] == "ab" * 32
    assert run.data.tags["evolve.champion"] == "bafychampion"
    assert run.data.metrics["final.validation.lite.accuracy"] == 0.9
    history = client.get_metric_history(run.info.run_id, "accuracy")
    assert [(point.step, point.value) for point in history] == [(step, step / 30) for step in range(30)]
    assert "bad" not in run.data.metrics


def test_the_front_and_the_summary_are_artifacts_below_the_home(shown: Any) -> None:
    client, _, _, home = shown
    assert {entry.path for entry in client.list_artifacts(only_run(client).info.run_id)} == {
        "front.png",
        "summary.json",
    }
    assert list((home / "mlartifacts").rglob("front.png"))


def test_the_campaign_never_waits_for_its_tracker(shown: Any) -> None:
    _, _, told_s, _ = shown
    assert told_s < 1.0


def test_a_process_killed_while_mlflow_makes_its_tables_does_not_cost_the_home_its_tracker(tmp_path: Path) -> None:
    """The file was once made in place; half of its tables, and every later tracker said that one existed already."""
    code = (
        "import sys; from pathlib import Path; from evolve.tracking.mlflow_tracker import MlflowTracker; "
        "t = MlflowTracker(sys.argv[1], Path(sys.argv[2])); t.begin('digits', {}, {}); t.close(60)"
    )
    making = [sys.executable, "-c", code, uri_of(tmp_path), str(tmp_path / "mlartifacts")]
    with subprocess.Popen(making, cwd=Path(__file__).parents[3]) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("mlflow.db.making-*")) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)
        process.kill()
    assert not (tmp_path / "mlflow.db").exists()
    tracker = MlflowTracker(uri_of(tmp_path), tmp_path / "mlartifacts")
    tracker.begin("digits", CONFIG, TAGS)
    tracker.close(120)
    assert tracker.problem is None
    assert (tmp_path / "mlflow.db").exists()


def test_an_interrupted_campaign_goes_on_in_its_run(tmp_path: Path) -> None:
    first = MlflowTracker(uri_of(tmp_path), tmp_path / "mlartifacts")
    first.begin("digits", CONFIG, TAGS)
    first.generation(0, {"accuracy": 0.1})
    first.close(120)
    second = MlflowTracker(uri_of(tmp_path), tmp_path / "mlartifacts")
    second.begin("digits", CONFIG, TAGS)
    second.generation(1, {"accuracy": 0.2})
    second.finish(SUMMARY, [])
    second.close(60)
    third = MlflowTracker(uri_of(tmp_path), tmp_path / "mlartifacts")
    third.begin("digits", CONFIG, TAGS)
    third.close(60)
    assert (first.problem, second.problem, third.problem) == (None, None, None)
    from mlflow import MlflowClient

    client = MlflowClient(uri_of(tmp_path))
    runs = client.search_runs([client.get_experiment_by_name("evolve").experiment_id], order_by=["start_time ASC"])
    assert [run.info.status for run in runs] == ["FINISHED", "RUNNING"]
    assert [p.step for p in client.get_metric_history(runs[0].info.run_id, "accuracy")] == [0, 1]


def test_a_dead_server_costs_points_and_nothing_else(tmp_path: Path) -> None:
    tracker = MlflowTracker("http://127.0.0.1:9", tmp_path / "mlartifacts")
    started = time.monotonic()
    tracker.begin("digits", CONFIG, TAGS)
    for step in range(100):
        tracker.generation(step, {"accuracy": 0.5})
    tracker.finish(SUMMARY, FRONT)
    assert time.monotonic() - started < 1.0
    tracker.close(30)
    assert time.monotonic() - started < 40
    problem = tracker.problem
    assert problem is not None
    assert "http://127.0.0.1:9" in problem
    assert "\n" not in problem


QUIET = """
import sys
from pathlib import Path
from evolve.tracking.mlflow_tracker import MlflowTracker
home = Path(sys.argv[1])
tracker = MlflowTracker(sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{home / 'mlflow.db'}", home / "mlartifacts")
tracker.begin("digits", {"seed": 1}, {})
tracker.generation(0, {"accuracy": 0.5})
tracker.finish({"state": "done"}, [])
tracker.close(60)
"""


@pytest.mark.parametrize(
    "server", [[], pytest.param(["http://127.0.0.1:9"], marks=pytest.mark.slow)], ids=["sqlite", "dead"]
)
def test_mlflow_says_nothing_itself_and_leaves_nothing_in_the_working_folder(tmp_path: Path, server: list[str]) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "GIT_", "DO_NOT"))}
    environment = kept | {"PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", QUIET, str(home), *server]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout + done.stderr == ""
    assert list(here.iterdir()) == []


def test_lists_and_long_texts_of_a_config_stay_one_parameter_each() -> None:
    found = flatten({"a": {"b": [1, {"c": 2}], "d": {}}, "e": "y" * 900, "f": 0.5})
    assert found == {"a.b": '[1, {"c": 2}]', "a.d": "{}", "e": "y" * 499 + "…", "f": "0.5"}


def test_the_front_draws_one_line_a_tier_and_skips_points_that_have_no_numbers() -> None:
    figure = front_figure([*FRONT, {"individual": "b", "accuracy": None, "flops": 5}])
    (axes,) = figure.axes
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == {
        "lite": [[100.0, 0.9]],
        "ultimate": [[900.0, 0.95]],
    }


def test_a_server_that_hangs_is_let_go_after_the_time_it_was_given(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        tracker = MlflowTracker(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path / "mlartifacts")
        tracker.begin("digits", CONFIG, TAGS)
        started = time.monotonic()
        tracker.close(1.0)
        assert time.monotonic() - started < 5
        assert "did not answer in time" in (tracker.problem or "")
