"""Two small strategies of other families than the shipped ones: the seam must carry them without special cases.

``ToyArchive`` keeps one elite per cell of a descriptor (the second objective, cut into bins); ``ToySteadyState`` keeps two
batches outstanding and replaces its worst member at every tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe
from evolve.strategies import Judged, Outcome, Problem
from evolve.strategies.genetic import first_recipes
from population.randomness import derive_seed, integers


@dataclass(frozen=True)
class ArchiveState:
    """cells: cell -> (event, leading fitness)."""

    problem: Problem
    cells: Mapping[int, tuple[int, float]]
    num_generations: int = 0


@dataclass(frozen=True)
class ToyArchive:
    """One elite per cell; parents are drawn from the elites."""

    window: int = 1
    num_cells: int = 8

    def start(self, problem: Problem) -> ArchiveState:
        return ArchiveState(problem, {})

    def ask(self, state: ArchiveState, first_event: int) -> tuple[ArchiveState, Batch]:
        if not state.cells:
            return state, Batch(first_event, tuple(first_recipes(state.problem, first_event, state.problem.population)))
        elites = [event for _, (event, _) in sorted(state.cells.items())]
        return state, Batch(first_event, _children(state.problem, elites, first_event, state.problem.population))

    def tell(self, state: ArchiveState, batch: Batch, judged: Judged) -> tuple[ArchiveState, Outcome]:
        cells = dict(state.cells)
        for position, event in enumerate(batch.events):
            fitness = judged.fitness[position]
            if not judged.is_usable[position]:
                continue
            cell = int(np.floor(fitness[-1] * self.num_cells)) % self.num_cells
            if cell not in cells or cells[cell][1] < fitness[0]:
                cells[cell] = (event, float(fitness[0]))
        kept = {event for event, _ in cells.values()}
        left = tuple(sorted({event for event, _ in state.cells.values()} - kept))
        told = replace(state, cells=cells, num_generations=state.num_generations + 1)
        return told, Outcome(tuple("active" if event in kept else "archived" for event in batch.events), left)

    def members(self, state: ArchiveState) -> tuple[int, ...]:
        return tuple(event for event, _ in sorted(state.cells.values(), key=lambda pair: -pair[1]))

    def generation(self, state: ArchiveState) -> int:
        return state.num_generations

    def shares(self, state: ArchiveState) -> Mapping[str, float]:
        return {}


@dataclass(frozen=True)
class SteadyState:
    """members: (event, leading fitness), best first."""

    problem: Problem
    members: tuple[tuple[int, float], ...] = ()
    is_begun: bool = False
    num_told: int = 0


@dataclass(frozen=True)
class ToySteadyState:
    """A logical window of two batches of two children; the worst member gives way."""

    window: int = 2

    def start(self, problem: Problem) -> SteadyState:
        return SteadyState(problem)

    def ask(self, state: SteadyState, first_event: int) -> tuple[SteadyState, Batch]:
        if not state.members:
            count = max(1, state.problem.population // 2)
            return replace(state, is_begun=True), Batch(
                first_event, tuple(first_recipes(state.problem, first_event, count))
            )
        return state, Batch(first_event, _children(state.problem, [e for e, _ in state.members], first_event, 2))

    def tell(self, state: SteadyState, batch: Batch, judged: Judged) -> tuple[SteadyState, Outcome]:
        born = [(e, float(judged.fitness[p, 0])) for p, e in enumerate(batch.events) if judged.is_usable[p]]
        pool = sorted([*state.members, *born], key=lambda pair: (-pair[1], pair[0]))[: state.problem.population]
        kept = {event for event, _ in pool}
        left = tuple(event for event, _ in state.members if event not in kept)
        told = replace(state, members=tuple(pool), num_told=state.num_told + 1)
        return told, Outcome(tuple("active" if event in kept else "archived" for event in batch.events), left)

    def members(self, state: SteadyState) -> tuple[int, ...]:
        return tuple(event for event, _ in state.members)

    def generation(self, state: SteadyState) -> int:
        return state.num_told

    def shares(self, state: SteadyState) -> Mapping[str, float]:
        return {}


def _children(problem: Problem, parents: list[int], first_event: int, count: int) -> tuple[Recipe, ...]:
    settings = problem.settings["gaussian@1"]
    recipes = []
    for event in range(first_event, first_event + count):
        place = int(integers(derive_seed(problem.key, event, 1, "toy"), 0, 1, len(parents))[0])
        seed = derive_seed(problem.key, event, 0, "gaussian@1")
        recipes.append(Recipe("gaussian@1", (parents[place],), ("parent",), seed, settings))
    return tuple(recipes)
