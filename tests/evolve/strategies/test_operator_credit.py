"""Laws of operator choice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.strategies.operator_credit import Credit

weights = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 10), min_size=1)


@given(
    weights,
    st.floats(0, 1),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 1), st.floats(0.1, 9)), max_size=20),
)
def test_shares_are_probabilities_and_keep_the_explored_part(
    found: dict[str, float], exploration: float, earned: list[tuple[str, float, float]]
) -> None:
    credit = Credit.start(found, exploration).updated([entry for entry in earned if entry[0] in found])
    shares = credit.shares()
    assert sum(shares) == pytest.approx(1.0)
    assert all(share >= exploration * prior - 1e-12 for share, prior in zip(shares, credit.prior, strict=True))


def test_equal_gains_at_half_the_cost_earn_twice_the_share() -> None:
    credit = Credit.start({"cheap": 1, "dear": 1}, 0.0).updated([("cheap", 1.0, 1.0), ("dear", 1.0, 2.0)])
    cheap, dear = credit.shares()
    assert cheap == pytest.approx(2 * dear)


def test_choices_follow_the_shares_and_the_seed_alone() -> None:
    credit = Credit.start({"a": 3, "b": 1}, 0.2)
    drawn = credit.choose(5, 0, 4000)
    assert drawn == credit.choose(5, 0, 4000)
    assert drawn.count("a") / 4000 == pytest.approx(0.75, abs=0.03)


def test_what_was_earned_long_ago_fades() -> None:
    credit = Credit.start({"a": 1, "b": 1}, 0.0).updated([("a", 1.0, 1.0), ("b", 0.0, 1.0)])
    for _ in range(30):
        credit = credit.updated([("b", 1.0, 1.0), ("a", 0.0, 1.0)])
    assert credit.shares()[1] > 0.99
