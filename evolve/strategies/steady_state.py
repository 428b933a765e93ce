"""The asynchronous steady state: small batches of children, several of them in flight, each told as soon as it is its turn.

Workers never wait for a generation to end. What a batch descends from follows from a logical window, not from who was
fast: batch n is asked when batch n - window has been told, and batches are told in the order in which they were asked. So
the search is the same on any number of workers, and after any interruption.

Nouns: *window* (batches in flight), *batch size* (children a batch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from evolve.recipes.batch import Batch
from evolve.strategies.genetic import (
    GeneticOptions,
    Members,
    children,
    earned,
    first_recipes,
    status_of,
    viable_children,
)
from evolve.strategies.operator_credit import Credit
from evolve.strategies.protocol import Judged, Outcome, Problem
from evolve.strategies.registry import Search, register
from evolve.strategies.selection import best_first, nsga2


class SteadyOptions(GeneticOptions):
    """Attributes: batch: children a batch; window: batches in flight, at least the workers that are to be kept busy;
    survival: the best by the objectives in order stay, or those that NSGA-II keeps; all members are elites."""

    batch: int = Field(default=8, ge=1)
    window: int = Field(default=4, ge=1, le=256)
    survival: Literal["best", "nsga2"] = "best"


@dataclass(frozen=True)
class SteadyState:
    """Attributes: parents: of each batch in flight, by its first event, as they were judged when it was asked, the oldest
    first; None for first individuals. num_first: of these asked so far; num_told: births told."""

    problem: Problem
    members: Members | None
    credit: Credit
    parents: tuple[tuple[int, Members | None], ...] = ()
    num_first: int = 0
    num_told: int = 0


@dataclass(frozen=True)
class Steady:
    """A steady-state strategy: parents and children compete for the places of the population, batch by batch."""

    window: int

    def start(self, problem: Problem) -> SteadyState:
        """Returns the state before the first individuals."""
        return SteadyState(problem, None, Credit.start(problem.operators, problem.exploration))

    def ask(self, state: SteadyState, first_event: int) -> tuple[SteadyState, Batch]:
        """Returns a batch of first individuals until the population has been asked for, then batches of children."""
        problem, members = state.problem, state.members
        missing = problem.population - state.num_first
        if members is None or missing > 0:
            count = min(problem.options.batch, missing) if missing > 0 else problem.options.batch
            asked = replace(state, parents=(*state.parents, (first_event, None)), num_first=state.num_first + count)
            return asked, Batch(first_event, tuple(first_recipes(problem, first_event, count)))
        several = problem.options.survival == "nsga2"
        born = children(problem, state.credit, members, first_event, problem.options.batch, several=several)
        named = {parent for recipe in born for parent in recipe.parents}
        parents = members.gather([row for row, event in enumerate(members.event.tolist()) if event in named])
        return replace(state, parents=(*state.parents, (first_event, parents))), Batch(first_event, tuple(born))

    def tell(self, state: SteadyState, batch: Batch, judged: Judged) -> tuple[SteadyState, Outcome]:
        """Returns the state in which the children have taken the places of members that are worse.

        Older batches in flight are forgotten: their search ended before they were told, and was extended since.
        """
        parents = dict(state.parents)[batch.first_event]
        younger = tuple(flight for flight in state.parents if flight[0] > batch.first_event)
        told = replace(state, parents=younger)
        usable = viable = judged.is_usable
        if parents is not None:
            viable = usable & viable_children(state.problem, parents, batch, judged)
            told = replace(told, credit=state.credit.updated(earned(state.problem, parents, batch, judged)))
        born = Members(np.array(batch.events, dtype=np.int64), judged.fitness, judged.skills)
        born = born.gather(np.flatnonzero(viable).tolist())
        pool = born if state.members is None else state.members.concat(born)
        kept = _survivors(state.problem, pool)
        staying = set(kept.event.tolist())
        before = state.members.event.tolist() if state.members is not None else []
        fates = zip(batch.events, viable, usable, strict=True)
        statuses = tuple(status_of(event in staying, bool(fine), bool(ok)) for event, fine, ok in fates)
        told = replace(told, members=kept if staying else None, num_told=state.num_told + len(batch.recipes))
        return told, Outcome(statuses, tuple(event for event in before if event not in staying))

    def members(self, state: SteadyState) -> tuple[int, ...]:
        """Returns the events of the population, best first by the objectives in order."""
        if state.members is None:
            return ()
        return tuple(int(state.members.event[row]) for row in best_first(state.members.fitness))

    def generation(self, state: SteadyState) -> int:
        """Returns how many times as many births as the population holds have been told."""
        return state.num_told // state.problem.population

    def shares(self, state: SteadyState) -> Mapping[str, float]:
        """Returns the probability of each operator."""
        return dict(zip(state.credit.names, state.credit.shares(), strict=True))


def _survivors(problem: Problem, pool: Members) -> Members:
    if problem.options.survival == "nsga2" and len(pool.event) > problem.population:
        return pool.gather(nsga2(pool.fitness, problem.population))
    return pool.gather(best_first(pool.fitness)[: problem.population])


register(Search("steady", lambda options: Steady(options.window), SteadyOptions, (SteadyState, Members, Credit)))
