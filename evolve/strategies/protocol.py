"""The seam of strategies: a pure ask/tell over recipes, the same for genetic, multi-objective, distribution-based,
archive-based and steady-state search.

Nouns: *recipe* (a recipe that is not born yet; parents are event numbers), *batch* (recipes judged alike and told
together), *outcome* (what becomes of each birth).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from evolve.recipes.batch import Batch

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Problem:
    """What a strategy knows of the task. Everything it draws follows from ``key`` and event numbers.

    Attributes:
        key: 32 bytes, the campaign key. objectives: names, the first one leads.
        population: wanted number of individuals.
        operators: operator key -> weight in the portfolio; settings: operator key -> canonical JSON text.
        widths: first widths to draw from, by symbol.
        costs: operator key -> counted FLOPs of making and judging one child.
        train_digest: digest of the training rows, an input of every recipe that reads them.
        viability: (objective position, margin) or None.
        init: settings of the ``init`` operator. exploration: of operator choice.
        options: settings of this kind of strategy.
    """

    key: bytes
    objectives: tuple[str, ...]
    population: int
    operators: Mapping[str, float]
    settings: Mapping[str, str]
    costs: Mapping[str, float]
    train_digest: bytes = b""
    widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    viability: tuple[int, float] | None = None
    init: Mapping[str, Any] = field(default_factory=dict)
    exploration: float = 0.3
    options: Any = None


@dataclass(frozen=True)
class Judged:
    """The judgement of a batch, by columns in event order. Shapes: n births, M objectives, K skills.

    Attributes:
        fitness: ``[n, M]``, larger is better, the mean over the tiers judged; NaN where the candidate failed.
        skills: ``[n, K]``, larger is better.
        is_repeat: ``[n]``: an equal recipe was judged before; its scores stand here, the birth itself is redundant.
    """

    fitness: npt.NDArray[np.float64]
    skills: npt.NDArray[np.float64]
    is_repeat: npt.NDArray[np.bool_]

    @property
    def is_usable(self) -> npt.NDArray[np.bool_]:
        """Which births were judged and are not redundant, ``[n]``."""
        usable: npt.NDArray[np.bool_] = ~np.isnan(self.fitness).any(axis=1) & ~self.is_repeat
        return usable


@dataclass(frozen=True)
class Outcome:
    """What became of the births of a batch, and who left.

    Attributes:
        statuses: per birth "active" (a member now), "archived" (judged and not kept) or "not_viable".
        left: events of earlier members that are members no longer.
    """

    statuses: tuple[str, ...]
    left: tuple[int, ...] = ()


class Strategy(Protocol[StateT]):
    """A search strategy as pure functions over a state value.

    Obligations: no method has side effects or hidden state; equal arguments give equal results. ``ask`` may be called
    again before the batches asked are told, up to ``window`` batches; ``tell`` is called once per batch, in the order in
    which batches were asked. States are values: comparing, storing and replaying them is allowed.
    """

    @property
    def window(self) -> int:
        """How many batches may be outstanding at once."""

    def start(self, problem: Problem) -> StateT:
        """Returns the state before the first birth."""

    def ask(self, state: StateT, first_event: int) -> tuple[StateT, Batch]:
        """Returns the next batch; its births will be events ``first_event``, ``first_event + 1``, ..."""

    def tell(self, state: StateT, batch: Batch, judged: Judged) -> tuple[StateT, Outcome]:
        """Returns the state after a batch was judged, and what became of its births."""

    def members(self, state: StateT) -> tuple[int, ...]:
        """Returns the events of the population, best first. Their rows are held for later batches."""

    def generation(self, state: StateT) -> int:
        """Returns how many generations are complete."""

    def shares(self, state: StateT) -> Mapping[str, float]:
        """Returns the probability of each operator of the portfolio; empty where there is no choice."""
