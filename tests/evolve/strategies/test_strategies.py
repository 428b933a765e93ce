"""The contract of strategies, run on every shipped one and on a toy archive and a toy steady-state strategy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from evolve import strategies
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import canonical_settings
from evolve.strategies import Judged, Problem, Search
from evolve.strategies.genetic import GeneticOptions
from population.errors import NotFound
from tests.evolve.toy_strategies import ToyArchive, ToySteadyState

TOYS = {
    "toy_archive": Search("toy_archive", lambda options: ToyArchive(), GeneticOptions),
    "toy_steady_state": Search("toy_steady_state", lambda options: ToySteadyState(), GeneticOptions),
}
KINDS = [*strategies.kinds(), *TOYS]


def _search(kind: str) -> Search:
    return TOYS[kind] if kind in TOYS else strategies.get(kind)


def _made(kind: str) -> Any:
    return _search(kind).make(_search(kind).options())


def _problem(kind: str, seed: int = 0) -> Problem:
    operators = {"gaussian@1": 1.0, "uniform@1": 1.0, "mean@1": 1.0}
    return Problem(
        key=bytes([seed]) * 32,
        objectives=("accuracy", "flops"),
        population=12,
        operators=operators,
        settings={
            "gaussian@1": canonical_settings({"rate": 0.1}),
            "uniform@1": canonical_settings({"mate_rate": 0.5}),
            "mean@1": canonical_settings({"weight": 0.5}),
        },
        costs=dict.fromkeys(operators, 100.0),
        viability=(0, 0.1),
        options=_search(kind).options(),
    )


def _judge(batch: Batch, failing: frozenset[int] = frozenset()) -> Judged:
    """A score that depends on the event alone, so that any order of judging gives the same."""
    fitness = np.array([[np.sin(event * 12.9898) * 0.5 + 0.5, (event % 7) / 7] for event in batch.events])
    for position, event in enumerate(batch.events):
        if event in failing:
            fitness[position] = np.nan
    return Judged(fitness, np.repeat(fitness[:, :1], 3, axis=1), np.zeros(len(fitness), dtype=np.bool_))


def _play(
    kind: str, rounds: int, seed: int = 0, failing: frozenset[int] = frozenset()
) -> tuple[Any, Any, list[Batch], list[Any]]:
    strategy = _made(kind)
    state, next_event, asked, batches, outcomes = strategy.start(_problem(kind, seed)), 0, [], [], []
    for _ in range(rounds):
        while len(asked) < strategy.window:
            state, batch = strategy.ask(state, next_event)
            next_event += len(batch.recipes)
            asked.append(batch)
            batches.append(batch)
        batch = asked.pop(0)
        state, outcome = strategy.tell(state, batch, _judge(batch, failing))
        outcomes.append((batch, outcome))
    return strategy, state, batches, outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_equal_problems_give_equal_batches(kind: str) -> None:
    assert _play(kind, 6)[2] == _play(kind, 6)[2]


@pytest.mark.parametrize("kind", KINDS)
def test_another_key_gives_other_recipes(kind: str) -> None:
    assert _play(kind, 4, seed=0)[2] != _play(kind, 4, seed=1)[2]


@pytest.mark.parametrize("kind", KINDS)
def test_asking_and_telling_change_neither_state_nor_arguments(kind: str) -> None:
    strategy = _made(kind)
    state = strategy.start(_problem(kind))
    state, batch = strategy.ask(state, 0)
    again, _ = strategy.tell(state, batch, _judge(batch))
    before = copy.deepcopy(again)
    strategy.ask(again, 100)
    assert repr(again) == repr(before)
    assert strategy.members(strategy.tell(state, batch, _judge(batch))[0]) == strategy.members(again)


@pytest.mark.parametrize("kind", KINDS)
def test_parents_are_members_or_were_when_asked(kind: str) -> None:
    strategy = _made(kind)
    state, next_event = strategy.start(_problem(kind)), 0
    for _ in range(6):
        members = set(strategy.members(state))
        state, batch = strategy.ask(state, next_event)
        next_event += len(batch.recipes)
        assert {parent for recipe in batch.recipes for parent in recipe.parents} <= members
        state, _ = strategy.tell(state, batch, _judge(batch))


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_those_told_active_and_not_left(kind: str) -> None:
    strategy, state, _, outcomes = _play(kind, 8)
    alive: set[int] = set()
    for batch, outcome in outcomes:
        assert len(outcome.statuses) == len(batch.recipes)
        assert set(outcome.left) <= alive
        alive -= set(outcome.left)
        alive |= {event for event, status in zip(batch.events, outcome.statuses, strict=True) if status == "active"}
    assert set(strategy.members(state)) == alive


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_that_failed_never_become_members(kind: str) -> None:
    """A distribution's centre once stood whatever its own score, also where it had no row: the campaign died of it."""
    failing = frozenset(range(1, 400, 2))
    strategy, state, _, _ = _play(kind, 6, failing=failing)
    assert not set(strategy.members(state)) & failing
    strategy, state, _, _ = _play(kind, 6, failing=frozenset(range(1000)))
    assert strategy.members(state) == ()


@pytest.mark.parametrize("kind", ["ga", "nsga2", "steady"])
def test_the_best_member_never_gets_worse(kind: str) -> None:
    strategy = _made(kind)
    state, next_event, best = strategy.start(_problem(kind)), 0, -1.0
    for _ in range(8):
        state, batch = strategy.ask(state, next_event)
        next_event += len(batch.recipes)
        state, _ = strategy.tell(state, batch, _judge(batch))
        leading = np.sin(strategy.members(state)[0] * 12.9898) * 0.5 + 0.5
        assert leading >= best
        best = leading


def test_a_child_below_its_margin_is_not_viable_and_its_parent_stays() -> None:
    strategy = _made("ga")
    state = strategy.start(_problem("ga"))
    state, batch = strategy.ask(state, 0)
    even = Judged(np.full((12, 2), 0.5), np.zeros((12, 1)), np.zeros(12, dtype=np.bool_))
    state, _ = strategy.tell(state, batch, even)
    state, children = strategy.ask(state, 12)
    bad = Judged(np.full((len(children.recipes), 2), 0.4499), np.zeros((10, 1)), np.zeros(10, dtype=np.bool_))
    told, outcome = strategy.tell(state, children, bad)
    assert set(outcome.statuses) == {"not_viable"}
    assert set(strategy.members(told)) == set(strategy.members(state))
    good = Judged(np.full((len(children.recipes), 2), 0.4501), np.zeros((10, 1)), np.zeros(10, dtype=np.bool_))
    assert "not_viable" not in strategy.tell(state, children, good)[1].statuses


def test_an_unknown_kind_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NotFound, match="'nsga2'"):
        strategies.get("nsga3")
