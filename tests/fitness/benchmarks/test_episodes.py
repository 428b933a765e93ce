"""Episodes as what policies are judged on: seeds, actions, digests, and what cannot be played."""

from __future__ import annotations

import numpy as np
import pytest

from fitness.benchmarks.episodes import Actions, Episodes
from fitness.benchmarks.from_parts import task_from_parts
from population.errors import BenchmarkError

OWN = "tests.plugins.worlds:"


@pytest.fixture(scope="module")
def cart() -> Episodes:
    return Episodes.of(
        "CartPole-v1",
        episodes={"train": 3, "heldout": 5},
        variants={"plain": {}, "long": {"attributes": {"length": 1.0}}},
    )


def test_what_travels_is_equal(cart: Episodes) -> None:
    value, parts = cart.to_parts()
    again = task_from_parts(value, parts)
    assert isinstance(again, Episodes)
    assert vars(again) | {"digest_of_data": 0} == vars(cart) | {"digest_of_data": 0}
    assert [again.digest(split) for split in ("train", "validation", "heldout")] == [
        cart.digest(split) for split in ("train", "validation", "heldout")
    ]
    assert parts == []


def test_spaces_and_numbers_are_the_environments(cart: Episodes) -> None:
    assert dict(cart.input_shapes) == {"observation": (4,)}
    assert cart.answers_of(["value", "action"]) == (("action", 2),)
    assert cart.answers_of(["logits"]) == (("logits", 2),)
    assert (cart.num_samples("train"), cart.num_answers("train")) == (6, 6 * 500)
    assert (cart.num_samples("validation"), cart.num_samples("heldout")) == (32, 10)
    assert [(found.name, found.direction, found.kind) for found in cart.objectives] == [
        ("return", "max", "score"),
        ("steps", "min", "score"),
        ("flops", "min", "cost"),
        ("bytes", "min", "cost"),
    ]


def test_training_episodes_follow_from_a_seed_and_no_others_do(cart: Episodes) -> None:
    drawn = {seed: cart.lanes("train", seed)[0].tolist() for seed in (0, 1)}
    assert drawn[0] != drawn[1]
    assert drawn[0][:3] == drawn[0][3:], "variants meet the same seeds"
    for split in ("validation", "heldout"):
        assert cart.lanes(split, 0)[0].tolist() == cart.lanes(split, 1)[0].tolist()
    validation, heldout = (set(cart.lanes(split, 0)[0].tolist()) for split in ("validation", "heldout"))
    assert not validation & heldout
    assert not validation & set(drawn[0])
    assert cart.lanes("heldout", 0)[1].tolist() == [0] * 5 + [1] * 5
    assert min(min(seeds) for seeds in drawn.values()) >= 0


def test_more_episodes_begin_with_those_of_fewer(cart: Episodes) -> None:
    more = Episodes.of("CartPole-v1", episodes={"train": 7})
    assert more.lanes("train", 9)[0][:3].tolist() == cart.lanes("train", 9)[0][:3].tolist()


def test_digests_differ_where_what_is_played_differs(cart: Episodes) -> None:
    plain = Episodes.of("CartPole-v1")
    others = [
        cart,
        Episodes.of("CartPole-v1", max_steps=100),
        Episodes.of("CartPole-v1", kwargs={"sutton_barto_reward": True}),
        Episodes.of("Pendulum-v1"),
    ]
    assert len({found.digest_of_data for found in (plain, *others)}) == 5
    assert len({plain.digest(split) for split in ("train", "validation", "heldout")}) == 3
    assert Episodes.of("CartPole-v1", split_seed=1).digest("heldout") != plain.digest("heldout")


def test_the_first_of_the_largest_is_chosen_and_numbers_are_clipped() -> None:
    answers = np.array([[0.0, 0.0, -1.0], [1.0, 2.0, 2.0]], dtype=np.float32)
    assert Actions(3).of(answers).tolist() == [[0.0], [1.0]]
    bounded = Actions(0, (-1.0, 0.0, float("-inf")), (1.0, 0.5, float("inf")))
    assert bounded.num_answers == 3
    numbers = np.array([[-5.0, 5.0, 1e9]], dtype=np.float32)
    assert bounded.of(numbers).tolist() == [[-1.0, 0.5, np.float32(1e9)]]


@pytest.mark.parametrize(
    ("environment", "given", "words"),
    [
        ("CartPol-v1", {}, "Did you mean"),
        (f"{OWN}Pairs-v0", {}, "policies know Discrete and Box of floats"),
        (f"{OWN}Endless-v0", {}, "set benchmark.environment.max_steps"),
        ("CartPole-v1", {"kwargs": {"weight": 3}}, "unexpected keyword argument 'weight'"),
        ("CartPole-v1", {"variants": {"odd": {"attributes": {"weight": 3}}}}, "no attribute 'weight'; it has"),
        ("CartPole-v1", {"episodes": {"train": 0}}, "at least 1"),
        ("CartPole-v1", {"objectives": ["accuracy"]}, "episodes measure return, steps, flops, bytes"),
        ("LunarLander-v3", {}, "cannot be imported"),
    ],
)
def test_what_cannot_be_played_is_told_in_one_line_with_the_remedy(environment: str, given: dict, words: str) -> None:
    with pytest.raises(BenchmarkError) as caught:
        Episodes.of(environment, **given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_environment_of_ones_own_is_played_where_it_has_an_end() -> None:
    found = Episodes.of(f"{OWN}Endless-v0", max_steps=9)
    assert (found.max_steps, found.observation, found.actions) == (9, (2,), Actions(0, (-1.0,), (1.0,)))
