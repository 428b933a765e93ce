from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.measures.heldout_tests import (
    alpha_of_look,
    difference_lower_bound,
    first_head_decision,
    paired_decision,
    paired_mean_decision,
)

counts = st.integers(1, 400).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n)).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), st.integers(0, pair[0] - pair[1]))
    )
)


def test_all_looks_together_spend_less_than_a_twentieth() -> None:
    spent = math.fsum(alpha_of_look(n) for n in range(1, 100_000))
    assert 0.0499 < spent < 0.05


def test_looks_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        alpha_of_look(0)


@given(counts, st.floats(1e-6, 0.4))
def test_the_bound_lies_within_minus_one_and_the_estimate(drawn: tuple[int, int, int], alpha: float) -> None:
    num, gained, lost = drawn
    bound = difference_lower_bound(gained, lost, num, alpha)
    assert -1.0 <= bound <= (gained - lost) / num + 1e-9


@given(counts, st.floats(1e-6, 0.2))
def test_spending_less_lowers_the_bound(drawn: tuple[int, int, int], alpha: float) -> None:
    num, gained, lost = drawn
    assert (
        difference_lower_bound(gained, lost, num, alpha / 2) <= difference_lower_bound(gained, lost, num, alpha) + 1e-12
    )


@given(counts, st.floats(1e-4, 0.2))
def test_one_more_row_lost_never_raises_the_bound(drawn: tuple[int, int, int], alpha: float) -> None:
    num, gained, lost = drawn
    if gained + lost < num:
        assert (
            difference_lower_bound(gained, lost + 1, num, alpha)
            <= difference_lower_bound(gained, lost, num, alpha) + 1e-9
        )


@given(st.integers(1, 1000), st.floats(1e-5, 0.2))
def test_without_discordant_rows_the_bound_has_a_closed_form(num: int, alpha: float) -> None:
    square = NormalDist().inv_cdf(1 - alpha) ** 2
    assert difference_lower_bound(0, 0, num, alpha) == pytest.approx(-square / (num + square), abs=1e-9)


def test_the_bound_is_that_of_tangos_example() -> None:
    """Tango 1998: 44 pairs of soft contact lenses, one discordant; the 95 % interval is -0.118 to 0.060."""
    assert difference_lower_bound(1, 0, 44, 0.025) == pytest.approx(-0.0600, abs=2e-3)
    assert difference_lower_bound(0, 1, 44, 0.025) == pytest.approx(-0.1181, abs=2e-3)


def test_the_bound_errs_about_as_often_as_it_may() -> None:
    generator = np.random.Generator(np.random.Philox(1))
    difference, errors, tries = -0.02, 0, 4000
    draws = generator.multinomial(360, [0.02, 0.02 - difference, 0.96 + difference], size=tries)
    for gained, lost, _ in draws:
        errors += difference_lower_bound(int(gained), int(lost), 360, 0.025) > difference
    assert 0.01 < errors / tries < 0.035


def test_a_block_beats_itself_by_nothing_and_passes() -> None:
    rows = np.arange(360) % 30 != 0
    decision = paired_decision(rows, rows, alpha_of_look(1))
    assert decision.accepted
    assert decision.estimate == 0.0


def test_a_worse_estimate_is_refused_with_the_reason() -> None:
    rows = np.ones(360, dtype=np.bool_)
    worse = rows.copy()
    worse[0] = False
    decision = paired_decision(worse, rows, 0.025)
    assert not decision.accepted
    assert "below zero" in decision.reasons[0]
    assert "1 lost" in decision.reasons[0]


def test_too_few_rows_cannot_show_that_nothing_is_lost() -> None:
    rows = np.ones(20, dtype=np.bool_)
    decision = paired_decision(rows, rows, 0.025)
    assert not decision.accepted
    assert "not above" in decision.reasons[1]


def test_rows_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="same rows"):
        paired_decision(np.ones(3, dtype=np.bool_), np.ones(4, dtype=np.bool_), 0.025)


def test_a_first_head_needs_every_floor() -> None:
    floors = {"lite": 0.9, "ultimate": 0.95}
    assert first_head_decision({"lite": 0.9, "ultimate": 0.97}, floors).accepted
    refused = first_head_decision({"lite": 0.89, "ultimate": 0.97}, floors)
    assert not refused.accepted
    assert "lite" in refused.reasons[0]
    assert "misses" in refused.reasons[0]
    assert not first_head_decision({"ultimate": 0.97}, floors).accepted
    assert not first_head_decision({"lite": math.nan, "ultimate": 0.97}, floors).accepted


def test_the_bound_of_paired_means_is_students() -> None:
    """By the table of Student's distribution: 2.131 is its quantile at 0.975 with 15 degrees of freedom."""
    differences = np.linspace(-0.1, 0.3, 16, dtype=np.float64)
    decision = paired_mean_decision(differences.astype(np.float32), np.zeros(16, dtype=np.float32), 0.025, margin=0.02)
    error = differences.std(ddof=1) / 4.0
    assert decision.estimate == pytest.approx(0.1, abs=1e-6)
    assert decision.bound == pytest.approx(0.1 - 2.131 * error, abs=1e-4)
    assert decision.accepted


def test_numbers_that_got_worse_are_refused_and_equal_ones_accepted() -> None:
    old = np.linspace(-1.0, 0.0, 50, dtype=np.float32)
    assert paired_mean_decision(old, old, 0.025).accepted
    assert not paired_mean_decision(old - np.float32(0.01), old, 0.025).accepted
    with pytest.raises(ValueError, match="same rows"):
        paired_mean_decision(old, old[1:], 0.025)
