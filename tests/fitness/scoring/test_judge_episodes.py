"""Policies in episodes: what they score is what a plain loop over Gymnasium gives, whoever plays beside them, and whoever
misbehaves is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

import fitness.benchmarks.episodes
from fitness.benchmarks.baselines import random_return
from fitness.benchmarks.episodes import Episodes
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.judges.judge import InlineJudge, Judge, Limits, SubprocessJudge
from fitness.processes import verdicts
from fitness.scoring.examiner import Examiner
from fitness.scoring.score_sheet import ScoreSheet
from fitness.work.work_unit import Judging
from population.errors import EvaluatorFailed, SimulatorFailed
from population.graphs.graph import Channel, Node, OpGraph
from population.stacks.stack import Stack
from tests.fitness.toys import unit_of

OWN = "tests.plugins.worlds:"
LIMITS = Limits(cpu_s=2, wall_s=4.0, memory_bytes=256 << 20)
WHOLE = {"ultimate": {}}


def graph_of(episodes: Episodes, end: str | None = None) -> OpGraph:
    """Returns observation -> hidden -> answers, and an operation at its end."""
    import tests.plugins.hostile as _registers  # noqa: F401

    nodes = [
        Node("fc", "linear", ("observation",), attributes={"out": "hidden"}),
        Node("act", "tanh", ("fc",)),
        Node("head", "linear", ("act",), attributes={"out": episodes.actions.num_answers}),
    ]
    if end is not None:
        nodes.append(Node(end, end, ("head",)))
    channel = Channel("observation", episodes.observation, "float32")
    return OpGraph.build([channel], nodes, [("action", nodes[-1].name)], {"hidden": 8})


def policies(episodes: Episodes, num: int, end: str | None = None) -> Stack:
    """Returns rows of normal weights that follow from their own number."""
    graph = graph_of(episodes, end)
    rows = []
    for number in range(num):
        drawn = torch.Generator().manual_seed(number)
        single = Stack.zeros(graph, 1)
        tensors = {
            name: torch.randn(tensor.shape, generator=drawn) * (0.0 if end is not None and end in name else 1.0)
            for name, tensor in single.tensors.items()
        }
        rows.append(single.replace(tensors=tensors))
    return Stack.concat(rows)


@pytest.fixture(scope="module")
def cart() -> Episodes:
    return Episodes.of("CartPole-v1", episodes={"train": 3, "validation": 5, "heldout": 2}, max_steps=120)


@pytest.fixture(scope="module")
def pendulum() -> Episodes:
    return Episodes.of(
        "Pendulum-v1",
        episodes={"train": 2, "validation": 2, "heldout": 2},
        variants={"plain": {}, "light": {"attributes": {"m": 0.5}}},
        max_steps=40,
    )


@pytest.fixture(scope="module")
def jailed() -> Iterator[SubprocessJudge]:
    judge = SubprocessJudge(limits=LIMITS, plugins=("tests.plugins.hostile",))
    yield judge
    judge.close()


def examine(stack: Stack, episodes: Episodes, judging: Judging, judge: Judge | None = None) -> ScoreSheet:
    examiner = Examiner(episodes, judge or InlineJudge())
    try:
        return examiner.examine(stack, judging)
    finally:
        examiner.close()


def plain_returns(stack: Stack, row: int, episodes: Episodes, judging: Judging) -> tuple[list[float], list[int]]:
    """The oracle: one policy, one environment, one step at a time, in float64 by numpy."""
    weights = {name: tensor[row].double().numpy() for name, tensor in stack.tensors.items()}
    returns, lengths = [], []
    for seed, variant in zip(*episodes.lanes(judging.split, judging.seed), strict=True):
        environment = gymnasium.make(episodes.name, max_episode_steps=episodes.max_steps, disable_env_checker=True)
        for name, value in list(episodes.variants.values())[variant].get("attributes", {}).items():
            setattr(environment.unwrapped, name, value)
        seen, _ = environment.reset(seed=int(seed))
        total, steps, is_over = 0.0, 0, False
        while not is_over:
            hidden = np.tanh(weights["fc.weight"] @ seen + weights["fc.bias"])
            answers = (weights["head.weight"] @ hidden + weights["head.bias"]).astype(np.float32)
            action = int(answers.argmax()) if episodes.actions.choices else np.clip(answers, -2.0, 2.0)
            seen, reward, terminated, truncated, _ = environment.step(action)
            total, steps, is_over = total + float(reward), steps + 1, terminated or truncated
        returns.append(total)
        lengths.append(steps)
    return returns, lengths


def test_a_return_is_what_a_plain_loop_over_gymnasium_gives(cart: Episodes, pendulum: Episodes) -> None:
    for episodes, nearness in ((cart, 0.0), (pendulum, 1e-3)):
        stack, judging = policies(episodes, 5), Judging("train", WHOLE, seed=77)
        judged = examine(stack, episodes, judging)
        assert judged.verdicts == ["ok"] * 5
        for row in range(5):
            returns, lengths = plain_returns(stack, row, episodes, judging)
            assert judged.merits[row, 0] == pytest.approx(returns, rel=nearness, abs=nearness)
            assert judged.scores[row, 0, :2] == pytest.approx([np.mean(returns), np.mean(lengths)], rel=nearness)
            by_variant = np.array(returns).reshape(len(episodes.skills), -1).mean(axis=1)
            assert judged.skills[row, 0] == pytest.approx(by_variant, rel=nearness)
            assert judged.scores[row, 0, 2] == judged.flops[row, 0] == graph_of(episodes).flops({"hidden": 8})


def test_a_jail_changes_no_bit(cart: Episodes, pendulum: Episodes, jailed: SubprocessJudge) -> None:
    for episodes in (cart, pendulum):
        stack, judging = policies(episodes, 40), Judging("train", WHOLE, seed=5)
        inline, found = examine(stack, episodes, judging), examine(stack, episodes, judging, jailed)
        assert found.merits.tobytes() == inline.merits.tobytes()
        assert found.scores.tobytes() == inline.scores.tobytes()
        assert found.verdicts == inline.verdicts == ["ok"] * 40


def test_no_bit_depends_on_who_plays_beside_or_on_how_many_episodes(cart: Episodes, pendulum: Episodes) -> None:
    for episodes in (cart, pendulum):
        stack = policies(episodes, 37)
        together = examine(stack, episodes, Judging("train", WHOLE, seed=5))
        for row in (0, 33):
            alone = examine(stack.gather([row]), episodes, Judging("train", WHOLE, seed=5))
            assert alone.merits.tobytes() == together.merits[row : row + 1].tobytes()
    more = Episodes.of("CartPole-v1", episodes={"train": 19}, max_steps=120)
    found = examine(policies(cart, 2), more, Judging("train", WHOLE, seed=5))
    assert (
        found.merits[:, :, :3].tobytes()
        == examine(policies(cart, 2), cart, Judging("train", WHOLE, seed=5)).merits.tobytes()
    )


def test_every_tier_plays_the_same_episodes_by_itself(cart: Episodes) -> None:
    stack, tiers = policies(cart, 3), {"lite": {"hidden": 2}, "ultimate": {"hidden": 8}}
    both = examine(stack, cart, Judging("validation", tiers))
    for place, (name, widths) in enumerate(tiers.items()):
        single = examine(stack, cart, Judging("validation", {name: widths}))
        assert single.merits[:, 0].tobytes() == both.merits[:, place].tobytes()
    assert both.scores[:, 0].tolist() != both.scores[:, 1].tolist()


def test_training_episodes_follow_from_the_seed_and_validation_ones_do_not(cart: Episodes) -> None:
    stack = policies(cart, 8)
    train, validation = (
        [examine(stack, cart, Judging(split, WHOLE, seed=seed)).merits.tobytes() for seed in (1, 2)]
        for split in ("train", "validation")
    )
    assert train[0] != train[1]
    assert validation[0] == validation[1]


def test_answers_that_are_no_numbers_end_their_candidates_play_alone(cart: Episodes, jailed: SubprocessJudge) -> None:
    stack = policies(cart, 4)
    head = stack.tensors["head.weight"].clone()
    head[1] = 3e38  # finite, but what it computes is not
    spoilt = stack.replace(tensors={**stack.tensors, "head.weight": head})
    bad = stack.tensors["head.bias"].clone()
    bad[2] = float("nan")
    spoilt = spoilt.replace(tensors={**spoilt.tensors, "head.bias": bad})
    clean = examine(stack, cart, Judging("train", WHOLE, seed=5))
    for judge in (InlineJudge(), jailed):
        found = examine(spoilt, cart, Judging("train", WHOLE, seed=5), judge)
        assert found.verdicts == ["ok", verdicts.NAN, verdicts.NAN, "ok"]
        assert np.isnan(found.scores[[1, 2], 0, 0]).all()
        assert found.merits[[0, 3]].tobytes() == clean.merits[[0, 3]].tobytes()


@pytest.mark.parametrize(("trigger", "cause"), [(8, verdicts.CRASH), (3, verdicts.TIMEOUT), (6, verdicts.OUTPUT)])
def test_a_candidate_that_misbehaves_gets_its_verdict_and_its_neighbours_their_scores(
    cart: Episodes, jailed: SubprocessJudge, trigger: int, cause: str
) -> None:
    stack = policies(cart, 3, end="hostile")
    triggers = torch.tensor([[0.0], [float(trigger)], [0.0]])
    stack = stack.replace(tensors={**stack.tensors, "hostile.trigger": triggers})
    found = examine(stack, cart, Judging("train", WHOLE, seed=5), jailed)
    assert found.verdicts == ["ok", cause, "ok"]
    clean = examine(policies(cart, 3), cart, Judging("train", WHOLE, seed=5))
    assert found.merits[[0, 2]].tobytes() == clean.merits[[0, 2]].tobytes()


def test_time_is_counted_over_a_whole_play(pendulum: Episodes) -> None:
    """A policy that answers slowly, each answer within its limit, must not take an hour over its episodes."""
    stack, judge = policies(pendulum, 1), SubprocessJudge(limits=Limits(cpu_s=0.004, wall_s=30.0))
    found = examine(stack, pendulum, Judging("validation", WHOLE), judge)
    judge.close()
    assert found.verdicts == [verdicts.TIMEOUT]


def test_a_graph_that_does_not_fit_is_told(cart: Episodes, pendulum: Episodes) -> None:
    found = examine(policies(pendulum, 2), cart, Judging("train", WHOLE))
    assert found.verdicts == [verdicts.OUTPUT] * 2
    assert "input channel 'observation' has shape (3,)" in found.details[0]


@pytest.mark.parametrize(
    ("world", "words"),
    [
        ("Raise", "(crash): RuntimeError: the floor gave way"),
        ("Reset", "(crash): RuntimeError: no beginning"),
        ("Nan", "(nan): rewards hold NaN"),
        ("Hang", "(timeout)"),
    ],
)
def test_a_simulator_that_fails_is_no_candidates_doing(world: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fitness.benchmarks.episodes, "SIMULATOR_LIMITS", Limits(cpu_s=2, wall_s=1.0, memory_bytes=1 << 30)
    )
    episodes = Episodes.of(f"{OWN}{world}-v0", episodes={"train": 2})
    with pytest.raises(SimulatorFailed) as caught:
        examine(policies(episodes, 2), episodes, Judging("train", WHOLE))
    assert f"the simulator of {OWN}{world}-v0 failed {words}" in str(caught.value)


def test_a_simulator_that_fails_again_and_again_fails_the_evaluator() -> None:
    episodes = Episodes.of(f"{OWN}Raise-v0", episodes={"train": 2})
    evaluator = InProcessEvaluator(episodes, "evolve.recipes.materialise:materialise")
    unit = unit_of(graph_of(episodes), seeds=[1, 2])
    evaluator.submit(replace(unit, judging=Judging("train", WHOLE)))
    with pytest.raises(EvaluatorFailed, match="the floor gave way"):
        evaluator.collect()
    evaluator.close()


def test_a_lost_jail_costs_no_score(cart: Episodes, jailed: SubprocessJudge) -> None:
    stack, judging = policies(cart, 3), Judging("train", WHOLE, seed=5)
    examiner = Examiner(cart, jailed)
    first = examiner.examine(stack, judging)
    for cell in (jailed._cell, examiner._simulator._cell):  # type: ignore[union-attr]
        assert cell.running is not None
        cell.running._process.kill()
        cell.running._process.wait()
        assert examiner.examine(stack, judging).merits.tobytes() == first.merits.tobytes()
    examiner.close()


def test_random_actions_are_what_a_baseline_plays(cart: Episodes, pendulum: Episodes) -> None:
    assert 12 < random_return(cart) < 40
    assert random_return(cart) == random_return(cart)
    assert random_return(pendulum) < -100
