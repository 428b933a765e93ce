"""Makes the children of a work unit from its recipes: the function that workers call, and that ``rebuild`` calls again.

Nouns: *group*, the candidates of a unit that share operator, settings and inputs and are made by one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evolve.operators import get
from evolve.operators.registry import Making, apply_checked
from fitness.benchmarks.benchmark import Benchmark
from fitness.work.task import Task
from fitness.work.work_unit import NO_PARENT, WorkUnit, graph_of
from population.errors import NotFound
from population.graphs.graph import OpGraph
from population.stacks.row_format import decode_rows
from population.stacks.stack import Stack
from population.stacks.threads import single_threaded

ReadObject = Callable[[bytes], bytes]


def materialise(unit: WorkUnit, read_object: ReadObject, benchmark: Task | None) -> Stack:
    """Returns the unit's children, one row per candidate, in order; a pure function of its arguments.

    Torch computes on one thread meanwhile, since sums over several threads have other bits.
    Raises whatever an operator raises; the worker turns that into a verdict.
    """
    with single_threaded():
        return _materialise(unit, read_object, benchmark)


def runs_plugins(unit: WorkUnit) -> bool:
    """Returns whether an operator of the unit comes from another package; such units are made in a jail."""
    try:
        return any(get(key).is_plugin for key in unit.operators)
    except NotFound:
        return False  # nothing is run: making it fails with the same words


def _materialise(unit: WorkUnit, read_object: ReadObject, benchmark: Task | None) -> Stack:
    graph = graph_of(unit)
    parents = decode_rows(graph, [read_object(digest) for digest in unit.parents]) if unit.parents else None
    rows: list[Stack] = []
    places: list[int] = []
    for members in _groups(unit):
        rows.append(_make(unit, graph, parents, members, read_object, benchmark))
        places.extend(members)
    made = Stack.concat(rows)
    return made.gather(np.argsort(np.array(places), kind="stable").tolist())


def _groups(unit: WorkUnit) -> list[list[int]]:
    found: dict[tuple[int, int, int], list[int]] = {}
    for position, candidate in enumerate(unit.candidates):
        key = (int(candidate["operator"]), int(candidate["settings"]), int(candidate["inputs"]))
        found.setdefault(key, []).append(position)
    return list(found.values())


def _make(
    unit: WorkUnit,
    graph: OpGraph,
    parents: Stack | None,
    members: Sequence[int],
    read_object: ReadObject,
    benchmark: Task | None,
) -> Stack:
    candidates = unit.candidates[list(members)]
    first = candidates[0]
    operator = get(unit.operators[int(first["operator"])])
    stacks = []
    for position in range(operator.num_parents):
        index = candidates["parents"][:, position]
        if parents is None or bool((index == NO_PARENT).any()):
            raise ValueError(f"{operator.key} takes {operator.num_parents} parents, a recipe names fewer")
        stacks.append(parents.gather([int(i) for i in index]))
    mask = int(first["inputs"])
    named = [digest for bit, digest in enumerate(unit.inputs) if mask >> bit & 1]
    needs_bytes = not operator.reads_training
    making = Making(
        graph=graph,
        parents=tuple(stacks),
        seeds=[int(seed) for seed in candidates["seed"]],
        benchmark=benchmark if operator.reads_training and isinstance(benchmark, Benchmark) else None,
        inputs=tuple(read_object(digest) for digest in named) if needs_bytes else (),
    )
    return apply_checked(operator, making, unit.settings[int(first["settings"])])


MATERIALISE = "evolve.recipes.materialise:materialise"
