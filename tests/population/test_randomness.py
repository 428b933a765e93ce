"""Facts about the counter-based random numbers: prefixes, ranges, and bits that are pinned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from population.randomness import coins, derive_seed, integers, normals, quantiles, words

seeds = st.integers(0, 2**64 - 1)


@given(seeds, seeds, st.integers(0, 200), st.integers(0, 200))
def test_a_shorter_draw_is_a_prefix_of_a_longer_one(seed: int, stream: int, first: int, second: int) -> None:
    short, long = sorted((first, second))
    assert np.array_equal(words(seed, stream, short), words(seed, stream, long)[:short])


@given(seeds)
def test_streams_of_one_seed_differ(seed: int) -> None:
    assert not np.array_equal(words(seed, 0, 64), words(seed, 1, 64))


def test_the_bits_of_the_first_words_are_pinned() -> None:
    assert words(7, 3, 6).tolist() == [50674, 34348, 51121, 31596, 36255, 19263]
    assert derive_seed(b"k" * 32, 5, 0, "gaussian@1") == 13438426580897089876


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 5, 2**64 - 1])
def test_words_are_those_of_philox_with_seed_and_stream_as_its_key(seed: int) -> None:
    generator = np.random.Philox(key=np.array([seed, 2**64 - 1 - seed], dtype=np.uint64))
    wanted = generator.random_raw(25).astype("<u8").view("<u2")
    np.testing.assert_array_equal(words(seed, 2**64 - 1 - seed, 99), wanted[:99])


def test_quantiles_are_antisymmetric_ascending_and_of_unit_variance() -> None:
    table = quantiles()
    assert np.array_equal(table, -table[::-1])
    assert bool((np.diff(table) > 0).all())
    assert abs(float(np.mean(table.astype(np.float64) ** 2)) - 1.0) < 1e-3


@given(seeds, st.integers(1, 1000))
def test_integers_lie_below_their_bound(seed: int, bound: int) -> None:
    drawn = integers(seed, 0, 50, bound)
    assert drawn.min() >= 0
    assert drawn.max() < bound


@given(seeds)
def test_coins_follow_their_rate_at_the_ends(seed: int) -> None:
    assert not coins(seed, 0, 100, 0.0).any()
    assert coins(seed, 0, 100, 1.0).all()


def test_normals_have_the_moments_of_a_standard_normal() -> None:
    drawn = normals(1, 2, 100_000).astype(np.float64)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1.0) < 0.01


def test_a_rate_outside_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError, match="rate must lie in"):
        coins(0, 0, 1, 1.5)


def test_words_are_those_of_a_generator_made_for_them_whatever_was_drawn_before():
    for seed, stream, count in ((0, 0, 1), (2**64 - 1, 2**63, 9), (5, 7, 0), (5, 7, 33), (6, 7, 2)):
        fresh = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)).random_raw(count // 4 + 1)
        assert words(seed, stream, count).tolist() == fresh.astype("<u8").view("<u2")[:count].tolist()
