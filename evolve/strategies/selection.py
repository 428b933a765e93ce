"""Who may have children and who stays: tournament, lexicase, NSGA-II.

DEAP's selections serve, on light individuals that carry fitness only; moocore ranks populations above 256 rows, where
DEAP's sorting would cost more than the evaluation. Fitness is always larger-is-better; NaN never wins.

Nouns: *rank* (0 for the first front), *crowding* distance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from deap import base, tools
from moocore import pareto_rank

Fitness = npt.NDArray[np.float64]
LARGE = 256


@dataclass(eq=False)
class _Entry:
    position: int
    fitness: Any


def tournament(fitness: Fitness, count: int, size: int, seed: int) -> list[int]:
    """Returns ``count`` winners of tournaments of ``size``, compared objective by objective in order. Fitness ``[N, M]``."""
    with _seeded(seed):
        return [entry.position for entry in tools.selTournament(_entries(fitness), count, size)]


def lexicase(skills: Fitness, count: int, seed: int) -> list[int]:
    """Returns ``count`` winners of automatic epsilon-lexicase over the columns of ``skills`` ``[N, K]``.

    Source: La Cava et al. 2016, https://arxiv.org/abs/1905.13266.
    """
    with _seeded(seed):
        return [entry.position for entry in tools.selAutomaticEpsilonLexicase(_entries(skills), count)]


def nsga2(fitness: Fitness, count: int) -> list[int]:
    """Returns the ``count`` rows that NSGA-II keeps, best first. Fitness ``[N, M]``, larger is better.

    Source: Deb et al. 2002, https://doi.org/10.1109/4235.996017, sec. III.
    """
    if len(fitness) <= LARGE:
        return [entry.position for entry in tools.selNSGA2(_entries(fitness), count)]
    values = _finite(fitness)
    ranks = ranked(values)
    kept: list[int] = []
    for rank in range(int(ranks.max()) + 1):
        front = np.flatnonzero(ranks == rank)
        distance = crowding(values[front])
        order = np.argsort(-distance, kind="stable")
        kept.extend(int(row) for row in (front if len(kept) + len(front) <= count else front[order]))
        if len(kept) >= count:
            return kept[:count]
    return kept


def ranked(fitness: Fitness) -> npt.NDArray[np.int64]:
    """Returns the index of the front that each row belongs to, ``[N]``, 0 for the non-dominated ones."""
    found: npt.NDArray[np.int64] = np.asarray(pareto_rank(_finite(fitness), maximise=True), dtype=np.int64)
    return found


def crowding(front: Fitness) -> npt.NDArray[np.float64]:
    """Returns the crowding distance of each row of one front ``[F, M]``; the ends of every objective are infinite."""
    distance = np.zeros(len(front))
    for column in range(front.shape[1]):
        order = np.argsort(front[:, column], kind="stable")
        values = front[order, column]
        distance[order[[0, -1]]] = np.inf
        span = values[-1] - values[0]
        if span > 0 and len(front) > 2:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / (front.shape[1] * span)
    return distance


def front_rows(fitness: Fitness) -> list[int]:
    """Returns the rows of ``fitness`` that no other row dominates and that are finite."""
    usable = np.flatnonzero(~np.isnan(fitness).any(axis=1))
    if len(usable) == 0:
        return []
    return [int(row) for row in usable[ranked(fitness[usable]) == 0]]


def _finite(fitness: Fitness) -> Fitness:
    return np.where(np.isnan(fitness), -np.finfo(np.float64).max, fitness)


def _entries(fitness: Fitness) -> list[_Entry]:
    made = []
    fitness_class = _fitness_class(fitness.shape[1])
    for position, row in enumerate(_finite(fitness)):
        made.append(_Entry(position, fitness_class(tuple(float(v) for v in row))))
    return made


@cache
def _fitness_class(num_objectives: int) -> Any:
    return type("Maximise", (base.Fitness,), {"weights": (1.0,) * num_objectives})


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """DEAP draws from Python's global generator: give it a seed, and put its state back afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def best_first(fitness: Fitness, order: Sequence[int] | None = None) -> list[int]:
    """Returns row positions sorted by objectives in order, best first; rows with NaN come last; ties keep their order."""
    values = _finite(fitness)
    keys = [-values[:, column] for column in reversed(range(values.shape[1]))]
    rows: list[int] = np.lexsort(keys).tolist()
    if order is None:
        return rows
    allowed = set(order)
    return [row for row in rows if row in allowed]
