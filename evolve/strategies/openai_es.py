"""An evolution strategy without gradients: OpenAI-ES with mirrored sampling, rank shaping and Adam.

One generation is two batches: a population of perturbed centres judged on training rows, then the updated centre, judged
on validation rows. Centre and moments are individuals of the lineage with recipes like any other.

Nouns: *centre*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from blake3 import blake3
from pydantic import Field

from evolve.operators.evolution_strategy import pair_seed
from evolve.operators.registry import Settings
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, canonical_settings
from evolve.strategies.genetic import first_recipes
from evolve.strategies.protocol import Judged, Outcome, Problem
from evolve.strategies.registry import Search, register
from population.randomness import derive_seed


class EvolutionOptions(Settings):
    """Attributes: std: of the samples around the centre; learning_rate: of Adam; decay: of the centre a generation."""

    std: float = Field(default=0.05, gt=0)
    learning_rate: float = Field(default=0.05, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    decay: float = Field(default=0.0, ge=0, lt=1)


@dataclass(frozen=True)
class EvolutionState:
    """Attributes: centre: event of the standing centre, best: of the best one on validation rows, with its fitness;
    samples: first event, noise and fitness of the population that the next update reads."""

    problem: Problem
    centre: int | None = None
    centre_fitness: tuple[float, ...] = ()
    best: int | None = None
    best_fitness: tuple[float, ...] = ()
    samples: tuple[int, int, bytes] | None = None
    num_generations: int = 0


@dataclass(frozen=True)
class Evolution:
    """OpenAI-ES with Adam."""

    window: int = 1

    def start(self, problem: Problem) -> EvolutionState:
        """Returns the state before the first centre."""
        return EvolutionState(problem)

    def ask(self, state: EvolutionState, first_event: int) -> tuple[EvolutionState, Batch]:
        """Returns the first centre, a population of mirrored samples, or the update of the centre, in turn."""
        if state.centre is None:
            return state, Batch(first_event, tuple(first_recipes(state.problem, first_event, 1)), steers=False)
        if state.samples is not None:
            return state, self._update(state, state.centre, state.samples, first_event)
        noise = derive_seed(state.problem.key, first_event, 0, "noise")
        return state, self._samples(state, state.centre, noise, first_event)

    def _samples(self, state: EvolutionState, centre: int, noise: int, first_event: int) -> Batch:
        options: EvolutionOptions = state.problem.options
        settings = [canonical_settings({"std": options.std, "sign": sign}) for sign in (1, -1)]
        pairs = max(1, state.problem.population // 2)
        recipes = tuple(
            Recipe("perturb@1", (centre,), ("centre",), pair_seed(noise, index // 2), settings[index % 2])
            for index in range(2 * pairs)
        )
        return Batch(first_event, recipes, split="train", keep=False)

    def _update(self, state: EvolutionState, centre: int, samples: tuple[int, int, bytes], first_event: int) -> Batch:
        options: EvolutionOptions = state.problem.options
        sampled, noise, scores = samples
        settings = canonical_settings({**options.model_dump(), "epsilon": 1e-8, "noise": noise, "first_event": sampled})
        digest = blake3(scores).digest()
        recipe = Recipe("openai_es@1", (centre,), ("centre",), 0, settings, (digest,))
        return Batch(first_event, (recipe,), steers=False, objects={digest: scores})

    def tell(self, state: EvolutionState, batch: Batch, judged: Judged) -> tuple[EvolutionState, Outcome]:
        """Takes in a population's fitness, or a centre's; a centre that failed leaves the one before it standing."""
        if batch.split == "train":
            noise = derive_seed(state.problem.key, batch.first_event, 0, "noise")
            scores = np.ascontiguousarray(judged.fitness[:, 0], dtype="<f8").tobytes()
            told = replace(state, samples=(batch.first_event, noise, scores))
            return told, Outcome(("archived",) * len(batch.recipes))
        return self._tell_centre(state, batch.first_event, tuple(float(value) for value in judged.fitness[0]))

    def _tell_centre(
        self, state: EvolutionState, event: int, fitness: tuple[float, ...]
    ) -> tuple[EvolutionState, Outcome]:
        if np.isnan(fitness).any():  # it may have no row to go on from: the standing centre is sampled again
            told = replace(state, samples=None, num_generations=state.num_generations + 1)
            return told, Outcome(("archived",))
        previous = {member for member in (state.centre, state.best) if member is not None}
        is_better = state.best is None or fitness > state.best_fitness
        best, best_fitness = (event, fitness) if is_better else (state.best, state.best_fitness)
        told = EvolutionState(state.problem, event, fitness, best, best_fitness, None, state.num_generations + 1)
        return told, Outcome(("active",), tuple(sorted(previous - {event, best})))

    def members(self, state: EvolutionState) -> tuple[int, ...]:
        """Returns the best centre on validation rows, then the standing one where it is another."""
        return tuple(dict.fromkeys(event for event in (state.best, state.centre) if event is not None))

    def generation(self, state: EvolutionState) -> int:
        """Returns how many centres have been judged."""
        return state.num_generations

    def shares(self, state: EvolutionState) -> Mapping[str, float]:
        """Returns nothing: there is no choice of operators."""
        return {}


register(Search("openai_es", lambda options: Evolution(), EvolutionOptions, (EvolutionState,)))
