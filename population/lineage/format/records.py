"""The plain records that a campaign hands to the lineage: what was born, how it was judged, what became of it.

Nouns: a *commit* is one step of a campaign, written whole or not at all; a *births* batch is the candidates of a commit
that were judged by the same *measures*; rows are kept by columns, so that a step of a thousand births costs a few arrays.
No Arrow and no DuckDB here: this module belongs to the core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

#: What an individual's status may be, in the order of its life.
STATUSES = ("born", "active", "not_viable", "quarantined", "promoted", "archived")


@dataclass(frozen=True)
class Measure:
    """One column of scores: which objective (or skill), on which split of which benchmark, at which tier."""

    benchmark: str
    split: str
    tier: str
    name: str


@dataclass(frozen=True)
class Births:
    """Candidates of one step that were judged by the same measures. Shapes: N births, M measures, K skill measures.

    Attributes:
        event: int64 ``[N]``, ascending; the birth's number in its campaign.
        individual: N ids, 32 hex characters each.
        operator: N names with version, ``"gaussian@1"``.
        seed: uint64 ``[N]``.
        settings: N canonical JSON texts (few distinct ones).
        inputs: per birth, the hex digests of the data its recipe reads.
        parents: per birth, the ids of its parents, in order; ``roles`` names each ("parent", "mate", "centre", ...).
        generation: int64 ``[N]``.
        species: N hex digests of op graphs (few distinct ones).
        coordinate: N coordinates, ``"L0_G0_N2_0:0:0"``.
        weights_digest: N hex digests, or None where the candidate was never materialised.
        status: N of ``STATUSES``; verdict and detail say why a candidate was quarantined ("ok" and "" otherwise).
        repeat_of: N ids of the individual whose scores this one refers to, or "".
        flops: int64 ``[N, T]`` counted FLOPs per sample of live widths, one column per tier in ``tiers``.
        scores: float64 ``[N, M]``, NaN where not judged. ``skills``: float64 ``[N, K]``.
        num_samples: samples that each score rests on.
    """

    measures: tuple[Measure, ...]
    skill_measures: tuple[Measure, ...]
    tiers: tuple[str, ...]
    num_samples: int
    sandbox_level: str
    environment: str
    event: npt.NDArray[np.int64]
    individual: Sequence[str]
    operator: Sequence[str]
    seed: npt.NDArray[np.uint64]
    settings: Sequence[str]
    inputs: Sequence[tuple[str, ...]]
    parents: Sequence[tuple[str, ...]]
    roles: Sequence[tuple[str, ...]]
    generation: npt.NDArray[np.int64]
    species: Sequence[str]
    coordinate: Sequence[str]
    weights_digest: Sequence[str | None]
    status: Sequence[str]
    verdict: Sequence[str]
    detail: Sequence[str]
    repeat_of: Sequence[str]
    flops: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    skills: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        """Checks that every column has one entry a birth and every score one column a measure."""
        count = len(self.event)
        for name in COLUMNS:
            if len(getattr(self, name)) != count:
                raise ValueError(f"births: column {name} has {len(getattr(self, name))} rows, event has {count}")
        if self.scores.shape != (count, len(self.measures)):
            raise ValueError(f"births: scores have shape {self.scores.shape}, not {(count, len(self.measures))}")
        if self.skills.shape != (count, len(self.skill_measures)):
            raise ValueError(f"births: skills have shape {self.skills.shape}, not {(count, len(self.skill_measures))}")


#: The columns of ``Births`` that have one entry per birth.
COLUMNS = (
    "individual", "operator", "seed", "settings", "inputs", "parents", "roles", "generation", "species", "coordinate",
    "weights_digest", "status", "verdict", "detail", "repeat_of", "flops", "scores", "skills",
)  # fmt: skip


@dataclass(frozen=True)
class Commit:
    """Everything that one committed step adds to the lineage.

    Attributes:
        step: 0, 1, 2, ... without gaps.
        events: the accepted events that are no births (begin, clock, published, finished), JSON-able, in order; what a
            replay needs beside the births.
        rows: rare rows by table (``campaigns``, ``generations``, ``lifecycle``, ``promotions``, ``blocks``,
            ``executions``, ``exits``, ``families``, ``usage``), each a mapping of plain values.
        incidents: retries, hosts, timings: recorded beside the lineage, outside its hash.
    """

    step: int
    births: tuple[Births, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    incidents: Sequence[Mapping[str, Any]] = ()
