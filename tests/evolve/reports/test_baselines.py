from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from evolve.config.campaign import check_config
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.reports import baselines, closing_page
from evolve.reports.baselines import Baseline, baselines_of
from tests.evolve.campaign import test_episode_seeds
from tests.evolve.cli.conftest import CONFIG


def test_a_plainly_trained_network_and_two_classical_methods_learn_digits() -> None:
    found = baselines.compute(make_plan(check_config(CONFIG)))
    assert [baseline.name for baseline in found] == [
        "the same network, plainly trained", "logistic regression", "support vector machine (SVC)"
    ]  # fmt: skip
    for baseline in found:
        for split in ("validation", "heldout"):
            assert 0.85 < baseline.scores[split] < 1.0
    assert found[0].flops is not None


def test_baselines_are_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.create(tmp_path / "h")
    handle = home.new_handle("c")
    calls = []

    def compute(plan: Plan) -> list[Baseline]:
        calls.append(plan)
        return [Baseline("x", {"validation": 0.5, "heldout": 0.25}, 7)]

    monkeypatch.setattr(baselines, "compute", compute)
    plan = make_plan(check_config(CONFIG))
    assert baselines_of(plan, home, handle) == baselines_of(plan, home, handle)
    assert len(calls) == 1
    path = home.campaign_dir(handle) / "baselines.json"
    for number, text in enumerate(("[{}]", "[1]", "{", "[" * 200_000, DAMAGED), start=2):
        path.chmod(0o644)
        path.write_text(text)  # of another version, or damaged: made anew
        assert baselines_of(plan, home, handle)[0].scores == {"validation": 0.5, "heldout": 0.25}
        assert len(calls) == number
    path.unlink()
    path.mkdir()  # neither read nor written
    assert len(baselines_of(plan, home, handle)) == 1


#: It was believed, and the last page of a finished campaign ended with a fault of ours.
DAMAGED = '[{"name": 7, "scores": "x", "flops": []}]'


def test_a_plugin_that_cannot_be_trained_spoils_no_finished_campaign(tmp_path: Path) -> None:
    """It raised in the driver, after everything was done, and the command ended with exit code 70."""
    nodes = [{**node, "op": "brittle"} if node["name"] == "act" else node for node in CONFIG["graph"]["nodes"]]
    changes = {"graph": {**CONFIG["graph"], "nodes": nodes}, "plugins": ["tests.plugins.brittle"]}
    plan = make_plan(check_config({**CONFIG, **changes, "operators": {"gaussian": {}}, "tiers": None, "gates": []}))
    home = Home.create(tmp_path / "h")
    network, *others = baselines_of(plan, home, home.new_handle("c"))
    assert (network.scores, network.flops) == ({}, None)
    assert "burst@1 makes nothing in its jail (crash): ArithmeticError: [bold]no gradient[/nothing]" in network.missing
    assert [baseline.missing for baseline in others] == ["", ""]
    assert not (home.campaign_dir("c") / "baselines.json").exists()  # it may be there another time
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(closing_page._reached({"scores": {}}, None, [network]))
    assert "(missing: burst@1 makes nothing" in console.export_text()


def test_data_that_scikit_learn_does_not_take_leaves_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> dict[str, float]:
        raise ValueError("Input contains NaN")

    monkeypatch.setattr("fitness.benchmarks.baselines.baseline_scores", refuse)
    monkeypatch.setitem(baselines.PLAIN_SETTINGS, "steps", 5)
    network, plain = baselines.compute(make_plan(check_config(CONFIG)))
    assert network.missing == ""
    assert (plain.name, plain.missing) == ("plain methods of scikit-learn", "Input contains NaN")


def test_a_simulator_that_fails_is_told() -> None:
    world = {**test_episode_seeds.DRIFT, "id": "tests.plugins.worlds:Raise-v0"}
    (found,) = baselines.compute(make_plan(check_config(test_episode_seeds.values(benchmark={"environment": world}))))
    assert (found.name, found.scores) == ("random actions", {})
    assert "the simulator of tests.plugins.worlds:Raise-v0 failed (crash)" in found.missing
