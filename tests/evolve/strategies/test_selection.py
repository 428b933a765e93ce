"""Facts about selection: NaN never wins, DEAP and moocore agree, seeds decide."""

from __future__ import annotations

import random  # noqa: TID251 - DEAP draws from it: a test says that it is left as it was

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.strategies import selection


def _random_fitness(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


@given(st.integers(0, 1000))
def test_nan_never_wins_a_tournament_against_a_number(seed: int) -> None:
    fitness = np.full((20, 1), np.nan)
    fitness[7] = -1e9
    winners = selection.tournament(fitness, 50, 20, seed)
    assert set(winners) <= {7} | set(range(20))
    assert winners.count(7) > 15


def test_selection_depends_on_its_seed_and_leaves_the_global_generator_alone() -> None:
    fitness = _random_fitness(0, 30, 1)
    random.seed(1)
    before = random.getstate()
    first = selection.tournament(fitness, 10, 3, seed=4)
    assert random.getstate() == before
    assert first == selection.tournament(fitness, 10, 3, seed=4)
    assert first != selection.tournament(fitness, 10, 3, seed=5)


def test_deap_and_moocore_keep_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """More ends of a front than places left are all infinitely far apart; which of them stay is the one freedom."""
    for seed in range(20):
        fitness = _random_fitness(seed, 60, 3)
        small = selection.nsga2(fitness, 25)
        with monkeypatch.context() as patch:
            patch.setattr(selection, "LARGE", 0)
            large = selection.nsga2(fitness, 25)
        ranks = selection.ranked(fitness)
        last = np.flatnonzero(ranks == ranks[large].max())
        at_an_end = set(last[np.isinf(selection.crowding(fitness[last]))].tolist())
        assert len(set(large)) == len(set(small)) == 25
        assert set(small) ^ set(large) <= at_an_end


@given(st.integers(0, 500))
def test_no_row_of_the_front_is_dominated(seed: int) -> None:
    fitness = _random_fitness(seed, 25, 2)
    front = selection.front_rows(fitness)
    for row in front:
        better = (fitness >= fitness[row]).all(axis=1) & (fitness > fitness[row]).any(axis=1)
        assert not better.any()


def test_lexicase_can_pick_a_specialist_that_a_mean_would_never_pick() -> None:
    skills = np.array([[0.9, 0.9, 0.9], [1.0, 0.0, 0.0], [0.9, 0.9, 0.9]])
    assert 1 in selection.lexicase(skills, 200, seed=0)


def test_best_first_puts_nan_last_and_keeps_ties_in_order() -> None:
    fitness = np.array([[0.5], [np.nan], [0.9], [0.5]])
    assert selection.best_first(fitness) == [2, 0, 3, 1]
