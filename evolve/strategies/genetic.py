"""The genetic strategies: a generational GA with elitism, and NSGA-II over several objectives.

Both propose children by operators chosen by credit per cost; they differ in who becomes a parent and who stays.

Nouns: *members* (the population: event numbers and their judgements, one leading axis), *elite* (a member that stays
unless beaten).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from evolve.operators import get
from evolve.operators.noise import stream_of
from evolve.operators.registry import Settings
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, canonical_settings
from evolve.strategies.operator_credit import Credit
from evolve.strategies.protocol import Judged, Outcome, Problem
from evolve.strategies.registry import Search, register
from evolve.strategies.selection import best_first, lexicase, nsga2, tournament
from population.randomness import derive_seed, integers


class GeneticOptions(Settings):
    """Attributes: elites: members that survive unconditionally ("ga" only); tournament: its size; parents: how they are
    selected; lexicase looks at skills."""

    elites: int = Field(default=2, ge=1)
    tournament: int = Field(default=3, ge=1)
    parents: Literal["tournament", "lexicase"] = "tournament"


@dataclass(frozen=True)
class Members:
    """The population. Shapes: N members; fitness ``[N, M]``, skills ``[N, K]``, larger is better; event ``[N]``."""

    event: npt.NDArray[np.int64]
    fitness: npt.NDArray[np.float64]
    skills: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        """Checks that every field has the same leading axis."""
        if not len(self.event) == len(self.fitness) == len(self.skills):
            raise ValueError(
                f"members: {len(self.event)} events, {len(self.fitness)} fitness, {len(self.skills)} skills"
            )

    def gather(self, rows: Sequence[int]) -> Members:
        """Returns these rows, in this order; every field moves alike."""
        index = np.asarray(rows, dtype=np.int64)
        return Members(self.event[index], self.fitness[index], self.skills[index])

    def concat(self, other: Members) -> Members:
        """Returns these members followed by others."""
        fields = ((getattr(self, name), getattr(other, name)) for name in ("event", "fitness", "skills"))
        return Members(*(np.concatenate(pair) for pair in fields))


@dataclass(frozen=True)
class GeneticState:
    """The state of a genetic strategy: members, what operators have earned, generations complete."""

    problem: Problem
    members: Members | None
    credit: Credit
    num_generations: int


@dataclass(frozen=True)
class Genetic:
    """A generational strategy. ``several`` chooses NSGA-II's survival over elitism."""

    several: bool
    window: int = 1

    def start(self, problem: Problem) -> GeneticState:
        """Returns the state before the first generation."""
        return GeneticState(problem, None, Credit.start(problem.operators, problem.exploration), 0)

    def ask(self, state: GeneticState, first_event: int) -> tuple[GeneticState, Batch]:
        """Returns the first individuals, or one generation of children."""
        if state.members is None:
            return state, Batch(first_event, tuple(first_recipes(state.problem, first_event, state.problem.population)))
        problem = state.problem
        count = problem.population if self.several else max(1, problem.population - problem.options.elites)
        born = children(problem, state.credit, state.members, first_event, count, several=self.several)
        return state, Batch(first_event, tuple(born))

    def tell(self, state: GeneticState, batch: Batch, judged: Judged) -> tuple[GeneticState, Outcome]:
        """Returns the next generation: members and viable children compete, or elites and children follow."""
        children = Members(np.array(batch.events, dtype=np.int64), judged.fitness, judged.skills)
        usable = judged.is_usable
        if state.members is None:
            kept = children.gather(best_first(children.fitness, np.flatnonzero(usable).tolist()))
            statuses = tuple("active" if ok else "archived" for ok in usable)
            if not usable.any():  # nobody to descend from: first individuals are asked for again
                return replace(state, num_generations=state.num_generations + 1), Outcome(statuses)
            return replace(state, members=kept, num_generations=1), Outcome(statuses)
        members = state.members
        viable = usable & viable_children(state.problem, members, batch, judged)
        pool = members if self.several else members.gather(self._stayers(state.problem, members, batch, viable))
        pool = pool.concat(children.gather(np.flatnonzero(viable).tolist()))
        kept = self._survivors(state.problem, pool, members)
        staying = set(kept.event.tolist())
        fates = zip(batch.events, viable, usable, strict=True)
        statuses = tuple(status_of(event in staying, bool(fine), bool(ok)) for event, fine, ok in fates)
        left = tuple(event for event in members.event.tolist() if event not in staying)
        credit = state.credit.updated(earned(state.problem, members, batch, judged))
        return GeneticState(state.problem, kept, credit, state.num_generations + 1), Outcome(statuses, left)

    def _stayers(self, problem: Problem, members: Members, batch: Batch, viable: npt.NDArray[np.bool_]) -> list[int]:
        """Elites, and the best parent of every child that was not viable: the parent keeps its place."""
        order = best_first(members.fitness)
        places = {int(members.event[row]): place for place, row in enumerate(order)}
        staying = dict.fromkeys(order[: problem.options.elites])
        for recipe, is_viable in zip(batch.recipes, viable, strict=True):
            if not is_viable:
                staying.setdefault(order[min(places[parent] for parent in recipe.parents)])
        return list(staying)

    def _survivors(self, problem: Problem, pool: Members, members: Members) -> Members:
        if self.several:
            return pool.gather(nsga2(pool.fitness, problem.population))
        kept = pool.gather(best_first(pool.fitness)[: problem.population])
        missing = problem.population - len(kept.event)
        staying = set(kept.event.tolist())
        spare = [row for row in best_first(members.fitness) if members.event[row] not in staying][:missing]
        return kept.concat(members.gather(spare))

    def members(self, state: GeneticState) -> tuple[int, ...]:
        """Returns the events of the population, best first by the objectives in order."""
        if state.members is None:
            return ()
        return tuple(state.members.event[best_first(state.members.fitness)].tolist())

    def generation(self, state: GeneticState) -> int:
        """Returns how many generations are complete, the first individuals counted as one."""
        return state.num_generations

    def shares(self, state: GeneticState) -> Mapping[str, float]:
        """Returns the probability of each operator."""
        return dict(zip(state.credit.names, state.credit.shares(), strict=True))


def children(
    problem: Problem, credit: Credit, members: Members, first_event: int, count: int, *, several: bool
) -> list[Recipe]:
    """Returns recipes of so many children; operators are drawn by credit, parents by fitness or by rank (``several``)."""
    choice = derive_seed(problem.key, first_event, 0, "operators")
    operators = [get(name) for name in credit.choose(choice, stream_of("choice"), count)]
    needed = sum(operator.num_parents for operator in operators)
    picked = _pick(problem, members, needed, derive_seed(problem.key, first_event, 1, "parents"), several)
    recipes = []
    for index, operator in enumerate(operators):
        parents = tuple(int(members.event[picked.pop()]) for _ in range(operator.num_parents))
        seed = derive_seed(problem.key, first_event + index, 0, operator.key) if operator.draws else 0
        inputs = (problem.train_digest,) if operator.reads_training else ()
        roles = ("parent", *("mate",) * (len(parents) - 1))
        recipes.append(Recipe(operator.key, parents, roles, seed, problem.settings[operator.key], inputs))
    return recipes


def _pick(problem: Problem, members: Members, count: int, seed: int, several: bool) -> list[int]:
    if problem.options.parents == "lexicase":
        return lexicase(members.skills, count, seed)
    if not several:
        return tournament(members.fitness, count, problem.options.tournament, seed)
    order = np.argsort(nsga2(members.fitness, len(members.event)))
    return tournament(-order[:, None].astype(np.float64), count, problem.options.tournament, seed)


def first_recipes(problem: Problem, first_event: int, count: int) -> list[Recipe]:
    """Returns ``init`` recipes, each with widths drawn from the problem's choices."""
    recipes = []
    for event in range(first_event, first_event + count):
        widths = {}
        for symbol, choices in sorted(problem.widths.items()):
            place = integers(derive_seed(problem.key, event, 1, "widths"), stream_of(symbol), 1, len(choices))[0]
            widths[symbol] = choices[int(place)]
        settings = canonical_settings({**problem.init, "widths": widths})
        recipes.append(Recipe("init@1", (), (), derive_seed(problem.key, event, 0, "init@1"), settings))
    return recipes


def viable_children(problem: Problem, members: Members, batch: Batch, judged: Judged) -> npt.NDArray[np.bool_]:
    """Returns which children hold the viability rule against their best parent, ``[n]``; all where no rule is set."""
    if problem.viability is None:
        return np.ones(len(batch.recipes), dtype=np.bool_)
    column, margin = problem.viability
    best = _best_parent(members, batch, column)
    with np.errstate(invalid="ignore"):
        viable: npt.NDArray[np.bool_] = judged.fitness[:, column] >= best - margin * np.abs(best)
    return viable


def earned(problem: Problem, members: Members, batch: Batch, judged: Judged) -> list[tuple[str, float, float]]:
    """Returns (operator, gain on the leading objective over the best parent, counted cost) for every child."""
    gains = np.maximum(0.0, np.nan_to_num(judged.fitness[:, 0] - _best_parent(members, batch, 0), nan=0.0))
    gains[judged.is_repeat] = 0.0
    return [
        (recipe.operator, float(gain), problem.costs[recipe.operator])
        for recipe, gain in zip(batch.recipes, gains, strict=True)
    ]


def _best_parent(members: Members, batch: Batch, column: int) -> npt.NDArray[np.float64]:
    rows = {event: row for row, event in enumerate(members.event.tolist())}
    values = members.fitness[:, column]
    return np.array([max(values[rows[parent]] for parent in recipe.parents) for recipe in batch.recipes])


def status_of(stays: bool, viable: bool, usable: bool) -> str:
    """Returns what became of a birth, as outcomes name it."""
    if stays:
        return "active"
    return "not_viable" if usable and not viable else "archived"


STATES = (GeneticState, Members, Credit)
register(Search("ga", lambda options: Genetic(several=False), GeneticOptions, STATES))
register(Search("nsga2", lambda options: Genetic(several=True), GeneticOptions, STATES))
