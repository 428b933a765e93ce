"""Lanes of Gymnasium's environments: each is exactly what ``gymnasium.make`` plays from its seed, whatever is beside it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.simulators.gymnasium_lanes import DERIVED, FAST, Lanes, prepared, spec_of
from population.errors import BenchmarkError

IDS = ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1")


def lanes_of(environment: str, *variants: dict[str, Any], max_steps: int | None = None, **kwargs: Any) -> Lanes:
    return prepared(environment, kwargs, variants or ({},), max_steps)()


def actions_for(lanes: Lanes, seeds: np.ndarray, num_steps: int) -> np.ndarray:
    """Actions ``[steps, L, K]`` that follow from each lane's seed alone."""
    found = lanes.describe()
    size = found["action"][0]
    drawn = np.stack([np.random.default_rng(int(seed)).uniform(-2, 2, (num_steps, size)) for seed in seeds], axis=1)
    chosen = np.floor((drawn + 2) / 4 * found["choices"]) if found["choices"] else drawn
    return chosen.astype(np.float32)


def play(lanes: Lanes, seeds: Any, num_steps: int, variants: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns observations ``[steps, L, *shape]``, rewards and ends ``[steps, L]``."""
    seeds = np.asarray(seeds, dtype=np.int64)
    lanes.reset(seeds, np.zeros_like(seeds) if variants is None else np.asarray(variants, dtype=np.int64))
    steps = [lanes.step(actions) for actions in actions_for(lanes, seeds, num_steps)]
    seen, rewards, terminated, truncated = (np.stack(found) for found in zip(*steps, strict=True))
    return seen, rewards, terminated | truncated


@pytest.mark.parametrize("environment", IDS)
def test_a_lane_is_the_episode_that_gymnasium_plays(environment: str) -> None:
    lanes = lanes_of(environment)
    seeds = np.arange(40)
    actions = actions_for(lanes, seeds, 250)
    seen, rewards, ends = play(lanes, seeds, 250)
    one = gymnasium.make(environment, disable_env_checker=True)
    is_choice = bool(lanes.describe()["choices"])
    for lane in (0, 7, 39):
        one.reset(seed=lane)
        for step in range(250):
            action = int(actions[step, lane, 0]) if is_choice else actions[step, lane]
            observation, reward, terminated, truncated, _ = one.step(action)
            if environment != "FrozenLake-v1":
                assert seen[step, lane].tolist() == observation.tolist()
            assert rewards[step, lane] == np.float32(reward)
            assert ends[step, lane] == (terminated or truncated)
            if terminated or truncated:
                break
        assert not rewards[step + 1 :, lane].any(), "a lane that ended gives nothing more"
        assert not ends[step + 1 :, lane].any()


@pytest.mark.parametrize("environment", IDS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_lane_does_not_depend_on_how_many_are_beside_it(environment: str, data: st.DataObject) -> None:
    lanes = lanes_of(environment)
    seeds = data.draw(st.lists(st.integers(0, 2**62), min_size=1, max_size=33))
    together = play(lanes, seeds, 30)
    lane = data.draw(st.integers(0, len(seeds) - 1))
    alone = play(lanes, [seeds[lane]], 30)
    for found, single in zip(together[1:], alone[1:], strict=True):
        assert found[:, lane].tobytes() == single[:, 0].tobytes()
    until = int(np.argmax(alone[2][:, 0])) if alone[2].any() else 29  # what follows an end is nobody's
    assert together[0][: until + 1, lane].tobytes() == alone[0][: until + 1, 0].tobytes()


def test_those_with_a_fast_form_have_it_here() -> None:
    for environment in ("CartPole-v1", "Pendulum-v1"):
        lanes = lanes_of(environment)
        lanes.reset(np.arange(3), np.zeros(3, dtype=np.int64))
        assert type(lanes._members[0][1]) is FAST[str(spec_of(environment).entry_point)]


def test_variants_are_other_worlds_and_what_follows_from_them_follows() -> None:
    long = {"attributes": {"length": 2.0}}
    lanes = lanes_of("CartPole-v1", {}, long)
    _, _, ends = play(lanes, [5] * 4, 400, variants=[0, 1, 1, 0])
    first = ends.argmax(axis=0).tolist()
    assert first[0] == first[3]
    assert first[1] == first[2]
    assert first[0] < first[1], "a long pole falls more slowly"
    cart = lanes._variants[1].make().unwrapped
    assert cart.polemass_length == cart.masspole * 2.0
    for entry, follow in DERIVED.items():
        newest = max(found.id for found in gymnasium.registry.values() if found.entry_point == entry)
        plain = gymnasium.make(newest).unwrapped
        assert {name: rule(plain) for name, rule in follow.items()} == {name: getattr(plain, name) for name in follow}


def test_a_variant_may_begin_elsewhere_and_be_made_otherwise() -> None:
    lanes = lanes_of("CartPole-v1", {}, {"reset": {"low": 0.1, "high": 0.2}})
    seen = lanes.reset(np.array([1, 1]), np.array([0, 1]))
    assert np.abs(seen[0]).max() <= 0.05
    assert seen[1].min() >= 0.1
    heavy = lanes_of("Pendulum-v1", {"kwargs": {"g": 0.0}}, g=20.0)
    assert heavy._variants[0].make().unwrapped.g == 0.0


def test_an_attribute_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no attribute 'weight'; it has .*masspole"):
        lanes_of("CartPole-v1", {"attributes": {"weight": 1}})


def test_a_limit_of_steps_is_the_registered_one_or_the_one_given() -> None:
    assert lanes_of("Pendulum-v1").describe()["max_steps"] == 200
    for environment in ("Pendulum-v1", "MountainCarContinuous-v0"):
        _, _, ends = play(lanes_of(environment, max_steps=7), [1, 2], 9)
        assert ends.argmax(axis=0).tolist() == [6, 6]


def test_numbers_of_states_become_a_one_among_zeros() -> None:
    seen = lanes_of("FrozenLake-v1").reset(np.array([3]), np.array([0]))
    assert seen.tolist() == [[1.0, *[0.0] * 15]]


def test_spaces_that_policies_do_not_know_are_refused_with_the_remedy() -> None:
    assert "wrap it in an environment of your own" in lanes_of("Blackjack-v1", max_steps=20).describe()["refused"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("CartPol-v1", "Did you mean: `CartPole`"),
        ("CartPole-v9", "v1"),
        ("nowhere_at_all:Thing-v0", "nowhere_at_all"),
        ("", "Write an id"),
    ],
)
def test_an_id_that_is_none_is_told_in_one_line(environment: str, words: str) -> None:
    with pytest.raises(BenchmarkError) as caught:
        spec_of(environment)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
