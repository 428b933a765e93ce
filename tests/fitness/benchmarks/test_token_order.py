from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitness.benchmarks import registry as datasets
from fitness.benchmarks.token_order import LONGEST, SHORTEST, VOCABULARY, which_comes_first


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_the_answer_is_the_first_marker_and_groups_of_equal_tokens_have_every_answer(num_groups, seed):
    """So whatever looks at counts of tokens alone answers exactly a third of all rows."""
    tokens, answers = which_comes_first(num_groups, seed)
    assert tokens.shape == (3 * num_groups, LONGEST)
    for row, answer in zip(tokens, answers, strict=True):
        markers = [token for token in row if 1 <= token <= 3]
        assert sorted(markers) == [1, 2, 3]
        assert markers[0] == 1 + answer
        assert np.flatnonzero(row).tolist() == list(range(np.count_nonzero(row)))  # padding comes last
    groups = np.sort(tokens, axis=1).reshape(num_groups, 3, LONGEST)
    assert (groups == groups[:, :1]).all()
    assert np.sort(answers.reshape(num_groups, 3), axis=1).tolist() == [[0, 1, 2]] * num_groups


def test_sequences_of_every_length_and_all_tokens_occur():
    tokens, _ = which_comes_first()
    assert set(np.count_nonzero(tokens, axis=1)) == set(range(SHORTEST, LONGEST + 1))
    assert set(np.unique(tokens)) == set(range(VOCABULARY))


def test_the_benchmark_and_its_split_are_pinned():
    benchmark = datasets.load("token_order")
    assert benchmark.inputs["tokens"].dtype == np.int64
    assert benchmark.skills == ("token 1 first", "token 2 first", "token 3 first")
    assert [len(benchmark.rows(split)) for split in ("train", "validation", "heldout")] == [2132, 732, 736]
    assert benchmark.digest_of_data.hex()[:16] == "35f5eade022cbb84"


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_give_equal_sequences(seed):
    assert np.array_equal(which_comes_first(9, seed)[0], which_comes_first(9, seed)[0])
    assert not np.array_equal(which_comes_first(9, seed)[0], which_comes_first(9, seed + 1)[0])
