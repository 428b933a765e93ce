"""Campaigns of policies: each generation meets episodes of its own, finalists others, and the rest is as it is on rows."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evolve.campaign.episode_seeds import DEFAULT_FINALISTS
from evolve.campaign.events import Extended
from evolve.campaign.tell import _choose_champion
from evolve.campaign.transition import accept
from evolve.config.campaign import check_config, load_config
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.promotion.promote import promote
from evolve.recovery.rebuild import read_records, rebuild_rows
from evolve.recovery.replay import replay
from evolve.strategies import Judged
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.judges.judge import InlineJudge
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import ConfigError, InputError
from tests.evolve import small, whole

CARTPOLE = whole.ROOT / "configs" / "cartpole.yaml"
DRIFT = {"id": "tests.plugins.worlds:Drift-v0", "episodes": {"train": 2, "validation": 3, "heldout": 3}}
GRAPH: dict[str, Any] = {
    "inputs": {"observation": {"shape": [2], "dtype": "float32"}},
    "symbols": {"hidden": 4},
    "nodes": [
        {"name": "fc", "op": "linear", "inputs": ["observation"], "out": "hidden"},
        {"name": "act", "op": "tanh", "inputs": ["fc"]},
        {"name": "head", "op": "linear", "inputs": ["act"], "out": 1},
    ],
    "outputs": {"action": "head"},
}
#: What makes configs/cartpole.yaml small enough to be killed in.
SMALL = (
    "strategy.population=8",
    "stop.generations=5",
    "stop.target={}",
    "benchmark.environment.episodes={train: 2, validation: 2, heldout: 2}",
    "benchmark.environment.max_steps=40",
    "keyframe=2",
    "run.address=local",
    "run.workers=1",
)


def values(**changes: Any) -> dict[str, Any]:
    """Returns the plain values of a small campaign in a world of a user's own."""
    base = {
        "benchmark": {"environment": DRIFT},
        "graph": GRAPH,
        "widths": {},
        "objectives": ["return"],
        "strategy": {"kind": "ga", "population": 8},
        "operators": {"gaussian": {"settings": {"rate": 0.3}}, "uniform": {}},
        "stop": {"generations": 4},
        "tiers": None,
    }
    return small.values(**{**base, **changes})


def plan_of(**changes: Any) -> Plan:
    return make_plan(check_config(values(**changes)), sandbox_level="none")


class Listening:
    """An evaluator that remembers what it was asked."""

    def __init__(self, plan: Plan) -> None:
        self._inner = InProcessEvaluator(plan.benchmark, small.MATERIALISE)
        self.units: list[WorkUnit] = []

    def submit(self, unit: WorkUnit) -> None:
        self.units.append(unit)
        self._inner.submit(unit)

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        return self._inner.collect(timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def looks_of(units: Sequence[WorkUnit]) -> list[tuple[str, str, int]]:
    return [(unit.operators[0], unit.judging.split, unit.judging.seed) for unit in units]


def test_each_generation_meets_episodes_of_its_own_and_finalists_others() -> None:
    plan = plan_of()
    evaluator = Listening(plan)
    state, commits, shelf = small.play(plan, evaluator=evaluator)
    looks = looks_of(evaluator.units)
    search, finals = [look for look in looks if look[1] == "train"], [look for look in looks if look[1] != "train"]
    assert len({seed for _, _, seed in search}) == 4, "one seed a generation"
    assert [(operator, split) for operator, split, _ in finals] == [("adopt@1", "validation")]
    assert shelf.block is not None
    assert state.block == shelf.block.id
    born = [births for commit in commits for births in commit.births]
    assert born[-1].operator == ["adopt@1"] * min(plan.problem.population, DEFAULT_FINALISTS)
    assert set(born[-1].status) == {"active", "archived"}
    best = born[-1].scores[:, 0].max()
    assert born[-1].scores[list(born[-1].status).index("active"), 0] == best


def test_an_evolution_strategy_samples_on_training_episodes_and_judges_its_centre_on_validation() -> None:
    plan = plan_of(strategy={"kind": "openai_es", "population": 6}, operators={}, stop={"generations": 3})
    evaluator = Listening(plan)
    small.play(plan, evaluator=evaluator)
    splits = {(operator, split) for operator, split, _ in looks_of(evaluator.units)}
    wanted = {("init@1", "validation"), ("perturb@1", "train"), ("openai_es@1", "validation")}
    assert splits == {*wanted, ("adopt@1", "validation")}


@pytest.mark.parametrize("kind", ["ga", "nsga2", "steady", "openai_es"])
def test_a_campaign_that_is_resumed_anywhere_ends_as_one_that_was_not(kind: str) -> None:
    more = {"operators": {}} if kind == "openai_es" else {}
    plan = plan_of(
        strategy={"kind": kind, "population": 6}, stop={"generations": 3}, objectives=["return", "flops"], **more
    )
    state, commits, _ = small.play(plan)
    cut = len(commits) // 2
    resumed, after, _ = small.play(plan, after=commits[:cut])
    assert small.digests([*commits[:cut], *after]) == small.digests(commits)
    assert (resumed.block, resumed.champion) == (state.block, state.champion)


def test_an_extended_campaign_finds_its_champion_anew_also_where_it_is_the_old_one() -> None:
    """A finalist that was one before is a repeat of that birth; repeats were no champions once, and the campaign failed."""
    fitness = np.array([[1.0], [2.0], [np.nan]])
    judged = Judged(fitness, np.zeros((3, 1)), np.array([False, True, False]))
    assert _choose_champion(judged).statuses == ("archived", "active", "archived")
    plan = plan_of()
    _, commits, _ = small.play(plan)
    turn = accept(plan, replay(plan, commits), Extended(generations=1))
    state, _, _ = small.play(plan, after=[*commits, *turn.commits])
    assert state.phase == "done"
    assert state.block is not None


def test_policies_are_made_again_from_their_pedigrees() -> None:
    plan = plan_of()
    _, commits, _ = small.play(plan)
    records = read_records(plan, commits)
    last = max(records)
    assert rebuild_rows(plan, records, [last]).digests == {last: records[last].digest}


def test_tiers_are_searched_all_at_once() -> None:
    tiers = {"fractions": {"lite": 0.5, "ultimate": 1.0}, "ladder": 1, "trained": "search", "finalists": 2}
    plan = plan_of(tiers=tiers, stop={"generations": 2})
    _, commits, shelf = small.play(plan)
    assert shelf.block is not None
    assert shelf.block.tier_names == ("lite", "ultimate")
    assert commits[-2].births[-1].scores.shape == (2, 2 * 4)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"benchmark": {"dataset": "digits", "environment": DRIFT}}, "benchmark.environment exclude each other"),
    ({"benchmark": {}}, "or benchmark.environment (a simulator)"),
    ({"benchmark": {"environment": {"id": "CartPol-v1"}}}, "Did you mean"),
    ({"benchmark": {"environment": {"id": "tests.plugins.worlds:Pairs-v0"}}}, "wrap it in an environment of your own"),
    ({"benchmark": {"environment": {**DRIFT, "episode": 3}}}, "Did you mean 'episodes'"),
    ({"benchmark": {"environment": DRIFT, "shuffled_labels": True}}, "an environment has no labels"),
    ({"operators": {"burst": {}}}, "burst learns from training rows"),
    ({"tiers": {"fractions": {"ultimate": 1.0}}}, "distil learns from training rows"),
    ({"objectives": ["accuracy"]}, "episodes measure return, steps, flops, bytes"),
    (
        {"graph": {**GRAPH, "inputs": {"observation": {"shape": [5], "dtype": "float32"}}}},
        "the data has shape [2], not [5]",
    ),
    (
        {"graph": {**GRAPH, "nodes": [*GRAPH["nodes"][:2], {**GRAPH["nodes"][2], "out": 3}]}},
        "takes actions of 1 numbers",
    ),
]


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_does_not_fit_is_told_before_anything_is_computed(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_of(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_floors_and_margins_of_rows_are_shares_and_those_of_episodes_are_returns() -> None:
    returns = {"name": "drift", "floors": {"ultimate": -200.0}, "margin": 20.0}
    assert plan_of(promote=returns).config.promote is not None
    with pytest.raises(ConfigError, match="accuracy is at most 1"):
        small.plan_of(promote={"name": "arrays", "floors": {"ultimate": 2.0}})
    with pytest.raises(ConfigError, match="a margin below 1"):
        small.plan_of(promote={"name": "arrays", "margin": 2.0})


def test_a_template_fits_an_environment_and_the_return_is_what_is_followed() -> None:
    plan = plan_of(graph={"template": "policy", "hidden": [8]}, objectives=["auto"])
    assert [channel.name for channel in plan.graph.inputs] == ["observation"]
    assert [name for name, _ in plan.graph.outputs] == ["action"]
    assert plan.config.objectives == ("return",)


def test_a_config_without_an_environment_keeps_its_key() -> None:
    """The key of a campaign of rows must not change because campaigns of episodes came to be."""
    assert "environment" not in json.dumps(load_config(whole.DIGITS).hashed["benchmark"])


def run_in(home: Path, *overrides: str) -> dict[str, Any]:
    """Runs the small cartpole campaign as a program of its own and returns its summary."""
    done = whole.call(whole.command("run", CARTPOLE, *SMALL, *overrides, "--home", home, "--json"))
    assert done.returncode in (0, 1), done.stderr[-2000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


@pytest.mark.slow
def test_the_program_gives_the_same_on_two_workers_and_with_ray(tmp_path: Path) -> None:
    one = run_in(tmp_path / "one", "promote=null")
    for number, other in enumerate((("run.workers=2",), ("run.workers=2", 'run.address=""'))):
        assert whole.hashes(run_in(tmp_path / str(number), "promote=null", *other)) == whole.hashes(one)


@pytest.mark.slow
def test_a_campaign_killed_in_the_midst_of_its_episodes_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole_one = run_in(tmp_path / "whole", "promote=null")
    home = tmp_path / "killed"
    arguments = whole.command("run", CARTPOLE, *SMALL, "promote=null", "--home", home, "--json")
    for number_of_commits in (2, 4):
        with whole.Driver(arguments) as driver:
            deadline = time.monotonic() + 120
            while len(whole.commits_of(home, "cartpole") if (home / "VERSION").exists() else []) < number_of_commits:
                assert driver.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            driver.process.send_signal(signal.SIGKILL)
            driver.process.wait()
    assert whole.hashes(run_in(home, "promote=null")) == whole.hashes(whole_one)


@pytest.mark.slow
def test_a_simulator_that_fails_fails_its_campaign_in_words(tmp_path: Path) -> None:
    config = tmp_path / "raise.yaml"
    config.write_text(json.dumps({**values(), "benchmark": {"environment": {"id": "tests.plugins.worlds:Raise-v0"}}}))
    done = whole.call(whole.command("run", config, "run.address=local", "--home", tmp_path / "h"))
    assert done.returncode == 3
    assert "the simulator of tests.plugins.worlds:Raise-v0 failed (crash): RuntimeError" in done.stderr
    assert "Traceback" not in done.stderr
    assert Home.open(tmp_path / "h").recorded_state("small") == "failed"


@pytest.mark.slow
def test_a_policy_is_promoted_by_its_return_and_a_worse_one_is_refused(tmp_path: Path) -> None:
    first = run_in(tmp_path, "promote.floors={ultimate: 5}")
    assert set(first["heldout"]["ultimate"]) == {"return", "steps", "flops", "bytes"}
    assert first["metric"] == "return"
    home = Home.open(tmp_path)
    second = run_in(tmp_path, "promote=null", "seed=7", "stop.generations=1", "strategy.population=2")
    judge = InlineJudge()
    decision = promote(home, second["champion"], "cartpole", margin=1000.0, accept_level="none", judge=judge)
    assert decision.look == 2
    better = decision.heldout["ultimate"]["return"] >= first["heldout"]["ultimate"]["return"]
    assert decision.decision == ("promoted" if better else "refused")
    assert "lower bound" in " ".join(decision.reasons)
