"""Every strategy on plain arrays: it converges to stated values, minimises and maximises, and its seed decides."""

from __future__ import annotations

import numpy as np
import pytest

from evolve.array_search import ArraySearch
from population.errors import InputError


def _minimise(kind: str, rounds: int, seed: int, **arguments: object) -> ArraySearch:
    search = ArraySearch(kind, 6, seed=seed, minimise=True, **arguments)  # type: ignore[arg-type]
    for _ in range(rounds):
        x = search.ask()
        search.tell(((x - 0.5) ** 2).sum(axis=1))
    return search


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "bound", "arguments"),
    [
        ("openai_es", 1e-3, {"options": {"std": 0.05, "learning_rate": 0.05}, "population": 32}),
        ("ga", 5e-2, {"operators": {"self_adapted": {"rate": 0.2}, "mean": {}}, "population": 32}),
        ("nsga2", 5e-2, {"operators": {"self_adapted": {"rate": 0.2}, "mean": {}}, "population": 32}),
    ],
)
def test_the_sphere_is_minimised_to_a_stated_value(
    kind: str, bound: float, arguments: dict[str, object], seed: int
) -> None:
    search = _minimise(kind, 300 if kind == "openai_es" else 60, seed, **arguments)
    assert search.best_score < bound
    assert search.best is not None
    assert np.abs(search.best - 0.5).max() < 0.5


def test_maximising_is_minimising_the_negative() -> None:
    down = ArraySearch("ga", 3, seed=4, minimise=True)
    up = ArraySearch("ga", 3, seed=4)
    for _ in range(5):
        x, y = down.ask(), up.ask()
        assert np.array_equal(x, y)
        down.tell((x**2).sum(axis=1))
        up.tell(-(y**2).sum(axis=1))
    assert down.best_score == -up.best_score


def test_the_seed_decides_and_asking_twice_is_asking_once() -> None:
    first, second, other = (ArraySearch("openai_es", 4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.ask(), second.ask())
    assert np.array_equal(first.ask(), first.ask())
    assert not np.array_equal(first.ask(), other.ask())


def test_two_objectives_spread_along_their_front() -> None:
    search = ArraySearch("nsga2", 2, num_objectives=2, minimise=True, population=40, seed=0, start_std=2.0)
    for _ in range(40):
        x = search.ask()
        scores = np.stack([((x - 1) ** 2).sum(axis=1), ((x + 1) ** 2).sum(axis=1)], axis=1)
        search.tell(scores)
    ends = scores.min(axis=0)
    assert (ends < 0.5).all()


def test_failed_candidates_are_told_as_nan_and_never_win() -> None:
    search = ArraySearch("ga", 3, seed=0, minimise=True)
    for _ in range(10):
        x = search.ask()
        scores = (x**2).sum(axis=1)
        scores[scores < 0.5] = np.nan
        search.tell(scores)
    assert search.best_score >= 0.5


def test_start_moves_the_first_candidates() -> None:
    x = ArraySearch("ga", 3, start=[10.0, 20.0, 30.0], start_std=0.01, seed=0).ask()
    assert np.abs(x - np.array([10.0, 20.0, 30.0])).max() < 0.1


def test_wrong_uses_are_told() -> None:
    search = ArraySearch("ga", 3, population=8)
    with pytest.raises(InputError, match="ask"):
        search.tell([1.0])
    search.ask()
    with pytest.raises(InputError, match=r"shape \(8, 1\)"):
        search.tell([1.0, 2.0])
    with pytest.raises(InputError, match="need a benchmark"):
        ArraySearch("ga", 3, operators={"burst": {}})
    with pytest.raises(InputError, match="start must have shape"):
        ArraySearch("ga", 3, start=[1.0])
