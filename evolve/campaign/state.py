"""The state of a campaign: a value that decides everything it does next.

Nouns: *asked* (a batch that is not told yet), *kin* (how a row is made again), *state*, *turn* (what one event leads to).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from evolve.campaign.events import Work
from evolve.campaign.front import FrontPoint, Tally
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe
from evolve.recipes.work_units import Cut
from fitness.work.work_unit import UnitResult
from population.lineage.format.records import Commit

#: Weights digest, scores ``[T, M]`` and skills ``[T, K]`` of one individual.
Scored = tuple[bytes | None, npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Asked:
    """A batch that is not told yet. cuts: its units once they are submitted; repeats: position -> event it repeats."""

    batch: Batch
    phase: str
    cuts: tuple[Cut, ...] = ()
    results: Mapping[int, UnitResult] = field(default_factory=dict)
    repeats: Mapping[int, int] = field(default_factory=dict)
    is_submitted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every unit's result is in."""
        return self.is_submitted and len(self.results) == len(self.cuts)


@dataclass(frozen=True)
class Kin:
    """How a row is made again: its recipe, with the bytes that this reads beside parents; none where the store has it."""

    digest: bytes
    recipe: Recipe | None = None
    objects: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """Everything that decides what a campaign does next; a value.

    Attributes:
        phase: "search", "distil", "publish" or "done". strategy: the strategy's own state.
        asked: outstanding batches, oldest first.
        digests, widths: weights digest and live widths of every individual held; entropies: of measured parents.
        met: recipe that draws nothing, unseeded -> event of its first birth; forgotten with its parents, who cannot come again.
        keeping: events of the rows that the last commit asked to be kept in the store. kin: how every row that is held is
            made again, of its parents, and those of theirs, up to rows that were kept.
        judged: scores of individuals that later ones may refer to (members, finalists, met recipes).
        best: signed objectives of the best member; stale: generations since it improved; barren: batches on end that held
            nothing but repeats.
        limits: "evaluations" and "generations" that a finished campaign was asked to go on to; they stand in the place of the
            config's stop rules. num_inexact: how often it went on in an environment that was not its own.
    """

    strategy: Any
    phase: str = "search"
    asked: tuple[Asked, ...] = ()
    next_event: int = 0
    next_unit: int = 0
    step: int = 1
    digests: Mapping[int, bytes] = field(default_factory=dict)
    widths: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    entropies: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    met: Mapping[Recipe, int] = field(default_factory=dict)
    keeping: tuple[int, ...] = ()
    kin: Mapping[int, Kin] = field(default_factory=dict)
    judged: Mapping[int, Scored] = field(default_factory=dict)
    evaluations: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    best: tuple[float, ...] = ()
    stale: int = 0
    barren: int = 0
    quarantined: int = 0
    front: tuple[FrontPoint, ...] = ()
    tally: Mapping[str, Tally] = field(default_factory=dict)
    recorded: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""
    champion: int | None = None
    block: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    num_inexact: int = 0


@dataclass(frozen=True)
class Turn:
    """What one event leads to: work to do, and commits to write before anything of it counts."""

    state: State
    work: tuple[Work, ...] = ()
    commits: tuple[Commit, ...] = ()
