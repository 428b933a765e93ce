"""``climb``: hill climbing. The best so far has children; one that is better takes its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from evolve.operators import Settings, get
from evolve.strategies import Batch, Judged, Outcome, Problem, Recipe, Search, register
from evolve.strategies.genetic import first_recipes
from population.randomness import derive_seed


class ClimbOptions(Settings):
    """There is nothing to set."""


@dataclass(frozen=True)
class ClimbState:
    """Attributes: best: (event, leading fitness) of the best so far; told: batches that were judged."""

    problem: Problem
    best: tuple[int, float] | None = None
    told: int = 0


@dataclass(frozen=True)
class Climb:
    """The strategy: its operators with one parent take turns."""

    window: int = 1

    def start(self, problem: Problem) -> ClimbState:
        """Returns the state before the first birth."""
        return ClimbState(problem)

    def ask(self, state: ClimbState, first_event: int) -> tuple[ClimbState, Batch]:
        """Returns first individuals, then children of the best."""
        problem, count = state.problem, state.problem.population
        if state.best is None:
            return state, Batch(first_event, tuple(first_recipes(problem, first_event, count)))
        keys = sorted(problem.operators)
        recipes = []
        for event in range(first_event, first_event + count):
            key = keys[event % len(keys)]
            seed = derive_seed(problem.key, event, 0, key)
            read = (problem.train_digest,) if get(key).reads_training else ()  # so that a rebuild finds the same rows
            recipes.append(Recipe(key, (state.best[0],), ("parent",), seed, problem.settings[key], read))
        return state, Batch(first_event, tuple(recipes))

    def tell(self, state: ClimbState, batch: Batch, judged: Judged) -> tuple[ClimbState, Outcome]:
        """Returns the state with the best of all; the others are archived."""
        best = state.best
        for position, event in enumerate(batch.events):
            if judged.is_usable[position] and (best is None or judged.fitness[position, 0] > best[1]):
                best = (event, float(judged.fitness[position, 0]))
        statuses = tuple("active" if best and event == best[0] else "archived" for event in batch.events)
        left = (state.best[0],) if state.best and best and best[0] != state.best[0] else ()
        return replace(state, best=best, told=state.told + 1), Outcome(statuses, left)

    def members(self, state: ClimbState) -> tuple[int, ...]:
        """Returns the best, once there is one."""
        return (state.best[0],) if state.best else ()

    def generation(self, state: ClimbState) -> int:
        """Returns how many batches were judged."""
        return state.told

    def shares(self, state: ClimbState) -> Mapping[str, float]:
        """Returns the same part for each operator."""
        return {key: 1 / len(state.problem.operators) for key in state.problem.operators}


climb = register(Search("climb", lambda options: Climb(), ClimbOptions, (ClimbState,)))
