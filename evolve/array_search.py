"""Every strategy on plain ``[P, D]`` arrays with any Python objective: the ask/tell loop of numerical optimisers.

A vector is a block with one parameter and no operations; the same recipes, operators and strategies serve.

Nouns: *search* (the stateful loop around a pure strategy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from evolve import operators, strategies
from evolve.operators.gaussian import entropies
from evolve.operators.registry import check_settings
from evolve.recipes.batch import Batch
from evolve.recipes.materialise import materialise
from evolve.recipes.recipe import canonical_settings, settings_value
from evolve.recipes.work_units import cut_batch
from evolve.strategies import Judged, Problem
from population.errors import InputError
from population.stacks.row_format import decode_rows, encode_rows
from population.stacks.stack import Stack, vector_graph

Floats = npt.NDArray[np.float64]
DEFAULT_OPERATORS: Mapping[str, Mapping[str, Any]] = {"gaussian": {"rate": 0.1}, "uniform": {}}
TILE = 64


class ArraySearch:
    """Ask for candidates, tell their scores.

    Args:
        kind: a strategy's name: "ga", "nsga2", "openai_es", or a registered one.
        num_dimensions: D. population: wanted candidates a generation. num_objectives: M.
        minimise: whether smaller scores are better.
        start_std: standard deviation of the first candidates around 0. start: where they are centred instead.
        operators: operator -> settings, for the genetic kinds. options: settings of the strategy.

    >>> search = ArraySearch("openai_es", 3, seed=1, minimise=True, options={"learning_rate": 0.1, "std": 0.1})
    >>> for _ in range(200):
    ...     x = search.ask()
    ...     search.tell(((x - 0.5) ** 2).sum(axis=1))
    >>> bool(search.best_score < 0.01)
    True
    """

    def __init__(
        self,
        kind: str,
        num_dimensions: int,
        *,
        population: int = 64,
        num_objectives: int = 1,
        seed: int = 0,
        minimise: bool = False,
        start: Sequence[float] | Floats | None = None,
        start_std: float = 1.0,
        operators: Mapping[str, Mapping[str, Any]] = DEFAULT_OPERATORS,
        options: Mapping[str, Any] | None = None,
        exploration: float = 0.3,
    ) -> None:
        if num_dimensions < 1:
            raise InputError(f"num_dimensions must be at least 1, got {num_dimensions}")
        self._graph = vector_graph(num_dimensions)
        self._start = np.zeros(num_dimensions) if start is None else np.asarray(start, dtype=np.float64)
        if self._start.shape != (num_dimensions,):
            raise InputError(f"start must have shape ({num_dimensions},), got {self._start.shape}")
        self._sign = -1.0 if minimise else 1.0
        self._num_objectives = num_objectives
        search = strategies.get(kind)
        problem = _problem(search, operators, num_objectives, population, seed, start_std, exploration, options or {})
        self._strategy = search.make(problem.options)
        self._state = self._strategy.start(problem)
        self._rows: dict[int, bytes] = {}
        self._next_event = 0
        self._asked: tuple[Batch, Stack] | None = None
        self.best: Floats | None = None
        self.best_score: float = float("nan")

    def ask(self) -> Floats:
        """Returns the candidates to be scored, ``[P, D]`` float64; asking again before telling returns the same."""
        while self._asked is None:
            self._state, batch = self._strategy.ask(self._state, self._next_event)
            self._next_event += len(batch.recipes)
            batch, made = self._make(batch)
            if batch.steers:
                self._asked = (batch, made)
            else:
                self._tell(batch, made, np.zeros((len(batch.recipes), self._num_objectives)))
        return self._start + self._asked[1].tensors["x"].numpy().astype(np.float64)

    def tell(self, scores: Any) -> None:
        """Takes the scores of the candidates asked for, ``[P]`` or ``[P, M]``; NaN marks a failed one."""
        if self._asked is None:
            raise InputError("tell before ask: call ask() first")
        batch, made = self._asked
        values = np.asarray(scores, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        expected = (len(batch.recipes), self._num_objectives)
        if values.shape != expected:
            raise InputError(f"scores must have shape {expected} (candidates, objectives), got {np.shape(scores)}")
        self._note_best(made, values)
        self._asked = None
        self._tell(batch, made, values * self._sign)

    @property
    def generation(self) -> int:
        """How many generations are complete."""
        return int(self._strategy.generation(self._state))

    def _make(self, batch: Batch) -> tuple[Batch, Stack]:
        recipes = tuple(self._with_entropies(recipe) for recipe in batch.recipes)
        batch = replace(batch, recipes=recipes)
        digests = {e: blake3(self._rows[e]).digest() for p in recipes for e in p.parents}
        objects = {digests[event]: self._rows[event] for event in digests} | dict(batch.objects)
        cuts = cut_batch(batch, [{}] * len(recipes), range(len(recipes)), digests, self._graph.to_value(), TILE, 0)
        made = Stack.concat([materialise(cut.unit, objects.__getitem__, None) for cut in cuts])
        places = [position for cut in cuts for position in cut.positions]
        return batch, made.gather(np.argsort(np.array(places), kind="stable").tolist())

    def _with_entropies(self, recipe: Any) -> Any:
        if not operators.get(recipe.operator).measures_parent:
            return recipe
        parent = decode_rows(self._graph, [self._rows[recipe.parents[0]]])
        settings = {**settings_value(recipe.settings), "entropies": entropies(parent, 0)}
        return replace(recipe, settings=canonical_settings(settings))

    def _tell(self, batch: Batch, made: Stack, fitness: Floats) -> None:
        if batch.keep:
            self._rows.update(zip(batch.events, encode_rows(made), strict=True))
        judged = Judged(fitness, fitness, np.zeros(len(fitness), dtype=np.bool_))
        self._state, _ = self._strategy.tell(self._state, batch, judged)
        members = set(self._strategy.members(self._state))
        self._rows = {event: row for event, row in self._rows.items() if event in members}

    def _note_best(self, made: Stack, values: Floats) -> None:
        signed = np.where(np.isnan(values[:, 0]), -np.inf, values[:, 0] * self._sign)
        row = int(np.argmax(signed))
        if np.isfinite(signed[row]) and not signed[row] <= self.best_score * self._sign:
            self.best = self._start + made.tensors["x"][row].numpy().astype(np.float64)
            self.best_score = float(values[row, 0])


def _problem(
    search: Any,
    wanted: Mapping[str, Mapping[str, Any]],
    num_objectives: int,
    population: int,
    seed: int,
    start_std: float,
    exploration: float,
    options: Mapping[str, Any],
) -> Problem:
    found = {name: operators.get(name) for name in wanted}
    refused = [name for name, operator in found.items() if operator.reads_training or operator.num_parents == 0]
    if refused:
        raise InputError(f"operators {', '.join(refused)} need a benchmark; on plain arrays use mutation and crossover")
    settings = {
        operator.key: canonical_settings(check_settings(operator, wanted[name]).model_dump(mode="json"))
        for name, operator in found.items()
    }
    return Problem(
        key=blake3(seed.to_bytes(8, "little", signed=True), derive_key_context="evolve 2026 array search").digest(),
        objectives=tuple(f"objective_{place}" for place in range(num_objectives)),
        population=population,
        operators={operator.key: 1.0 for operator in found.values()},
        settings=settings,
        costs={operator.key: 1.0 for operator in found.values()},
        init={"gain": start_std},
        exploration=exploration,
        options=search.options.model_validate(dict(options)),
    )
