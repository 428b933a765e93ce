"""Cuts a batch into work units, and joins their results back into the batch's order.

Nouns: *cut* (which births of a batch a unit holds).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, canonical_settings
from fitness.work.work_unit import CANDIDATE, NO_PARENT, Judging, UnitResult, WorkUnit

MAX_PARENTS = 8
Tiers = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Cut:
    """One unit and the positions in its batch of the candidates it holds."""

    unit: WorkUnit
    positions: tuple[int, ...]


@dataclass(frozen=True)
class BatchResult:
    """The results of a batch in event order. Shapes: n births, T tiers, M objectives, K skills (as ``UnitResult``)."""

    digests: tuple[bytes | None, ...]
    verdicts: tuple[str, ...]
    details: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    skills: npt.NDArray[np.float64]
    flops: npt.NDArray[np.int64]


def cut_batch(
    batch: Batch,
    tiers: Sequence[Tiers],
    positions: Sequence[int],
    digests: Mapping[int, bytes],
    graph: Mapping[str, Any],
    tile: int,
    first_unit: int,
) -> list[Cut]:
    """Returns units of at most ``tile`` candidates; those of a unit share operator, settings' operator and tiers.

    Args:
        tiers: per recipe, the tiers it is judged at. positions: the recipes to be judged (repeats are left out).
        digests: event -> weights digest, for every parent. graph: the species' plain value.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for position in positions:
        groups.setdefault((batch.recipes[position].operator, canonical_settings(tiers[position])), []).append(position)
    cuts: list[Cut] = []
    for members in groups.values():
        for start in range(0, len(members), tile):
            chosen = members[start : start + tile]
            unit = _unit(batch, chosen, tiers[chosen[0]], digests, graph, first_unit + len(cuts))
            cuts.append(Cut(unit, tuple(chosen)))
    return cuts


def _unit(
    batch: Batch,
    positions: Sequence[int],
    tiers: Tiers,
    digests: Mapping[int, bytes],
    graph: Mapping[str, Any],
    unit_id: int,
) -> WorkUnit:
    recipes = [batch.recipes[position] for position in positions]
    parents = _distinct(digests[event] for recipe in recipes for event in recipe.parents)
    inputs = _distinct(digest for recipe in recipes for digest in recipe.inputs)
    operators = _distinct(recipe.operator for recipe in recipes)
    settings = _distinct(recipe.settings for recipe in recipes)
    rows = np.zeros(len(recipes), dtype=CANDIDATE)
    for row, (position, recipe) in enumerate(zip(positions, recipes, strict=True)):
        rows[row] = (
            batch.first_event + position,
            recipe.seed,
            _parent_places(recipe, digests, parents),
            operators[recipe.operator],
            settings[recipe.settings],
            sum(1 << inputs[digest] for digest in set(recipe.inputs)),
        )
    return WorkUnit(
        unit_id=unit_id,
        graph=graph,
        parents=tuple(parents),
        inputs=tuple(inputs),
        operators=tuple(operators),
        settings=tuple(settings),
        candidates=rows,
        judging=Judging(batch.split, tiers, batch.seed),
        keep=batch.keep,
    )


def _parent_places(recipe: Recipe, digests: Mapping[int, bytes], places: Mapping[bytes, int]) -> list[int]:
    if len(recipe.parents) > MAX_PARENTS:
        raise ValueError(f"{recipe.operator}: a recipe has at most {MAX_PARENTS} parents, got {len(recipe.parents)}")
    named = [places[digests[event]] for event in recipe.parents]
    return named + [NO_PARENT] * (MAX_PARENTS - len(named))


def _distinct(values: Any) -> dict[Any, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(values))}


def join_results(
    num_births: int, shape: tuple[int, int, int], cuts: Sequence[Cut], results: Mapping[int, UnitResult]
) -> BatchResult:
    """Returns the units' results in the batch's order; births that no unit holds (repeats) have empty places.

    Args:
        shape: numbers of tiers, objectives and skills.
    """
    num_tiers, num_objectives, num_skills = shape
    scores = np.full((num_births, num_tiers, num_objectives), np.nan)
    skills = np.full((num_births, num_tiers, num_skills), np.nan)
    flops = np.zeros((num_births, num_tiers), dtype=np.int64)
    digests: list[bytes | None] = [None] * num_births
    verdicts, details = ["ok"] * num_births, [""] * num_births
    for cut in cuts:
        result = results[cut.unit.unit_id]
        for row, position in enumerate(cut.positions):
            digests[position] = result.digests[row]
            verdicts[position], details[position] = result.verdicts[row], result.details[row]
            scores[position], skills[position] = result.scores[row], result.skills[row]
            flops[position] = result.flops[row]
    return BatchResult(tuple(digests), tuple(verdicts), tuple(details), scores, skills, flops)
