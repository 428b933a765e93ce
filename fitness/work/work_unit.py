"""The seam between a campaign and whatever judges its candidates: work units in, results out.

Nouns: a *work unit* is one tile of recipes that share a species, parents, settings and judging; a *candidate* is one recipe
of a unit (at most 64 bytes on the wire); an *object* is bytes named by their BLAKE3 digest that travel to a worker once
(a parent's row, a recorded score vector).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fitness.work.task import Task
from population.graphs.graph import OpGraph
from population.stacks.stack import Stack

#: One candidate on the wire: 44 bytes. Parents, operators, settings and inputs are positions in the unit's own lists;
#: absent parents are 0xFFFF; ``inputs`` is a bit mask over the unit's inputs.
CANDIDATE = np.dtype(
    [
        ("event", "<u8"),
        ("seed", "<u8"),
        ("parents", "<u2", (8,)),
        ("operator", "<u2"),
        ("settings", "<u2"),
        ("inputs", "<u8"),
    ]
)
NO_PARENT = 0xFFFF


@dataclass(frozen=True)
class Judging:
    """How the candidates of a unit are judged.

    Attributes:
        split: "train", "validation" or "heldout".
        tiers: tier name -> widths by symbol, in the order in which scores are returned; an empty mapping of widths means
            the candidate at its own full width.
        seed: 64 bits that training episodes of a simulator follow from; rows of a data set need none.
    """

    split: str
    tiers: Mapping[str, Mapping[str, int]]
    seed: int = 0


@dataclass(frozen=True)
class WorkUnit:
    """One tile of recipes. ``graph`` is the species' op graph as a plain value (``OpGraph.to_value()``).

    Attributes:
        unit_id: unique in a campaign; results name it.
        parents: weights digests (32 bytes each) of the rows the candidates descend from.
        inputs: digests of the data the recipes read (the train split's digest, recorded score vectors).
        operators: names with version. settings: canonical JSON texts.
        candidates: structured array ``[n]`` of dtype ``CANDIDATE``.
        keep: whether the children's rows must stay available (``Evaluator.fetch``, parents of later units).
    """

    unit_id: int
    graph: Mapping[str, Any]
    parents: tuple[bytes, ...]
    inputs: tuple[bytes, ...]
    operators: tuple[str, ...]
    settings: tuple[str, ...]
    candidates: npt.NDArray[np.void]
    judging: Judging
    keep: bool = True


_last: list[tuple[Mapping[str, Any], OpGraph]] = []


def graph_of(unit: WorkUnit) -> OpGraph:
    """Returns the op graph of a unit; that of the last one is kept, since unit after unit is of one species."""
    for known, graph in _last:
        if known == unit.graph:
            return graph
    graph = OpGraph.from_value(unit.graph)
    _last[:] = [(unit.graph, graph)]
    return graph


@dataclass(frozen=True)
class UnitResult:
    """What came back for one unit; row i belongs to candidate i. Shapes: n candidates, T tiers, M objectives, K skills.

    Attributes:
        digests: 32-byte weights digest per candidate, or None where materialising failed.
        verdicts: "ok" or a cause of ``fitness.processes.verdicts``. details: one line of reason each.
        scores: float64 ``[n, T, M]``, NaN where the verdict is not "ok". skills: float64 ``[n, T, K]``.
        flops: int64 ``[n, T]``, counted on live widths, per sample.
        incidents: retries, worker deaths, timings: for the record, outside every hash.
    """

    unit_id: int
    digests: Sequence[bytes | None]
    verdicts: Sequence[str]
    details: Sequence[str]
    scores: npt.NDArray[np.float64]
    skills: npt.NDArray[np.float64]
    flops: npt.NDArray[np.int64]
    incidents: Sequence[Mapping[str, Any]] = ()


#: Makes the children of a unit: ``(unit, read_object, benchmark) -> Stack`` with one row per candidate, in order. A pure
#: function of its arguments; ``read_object(digest)`` returns a parent's row bytes or an input's bytes.
Materialise = Callable[[WorkUnit, Callable[[bytes], bytes], Task], Stack]


class Evaluator(Protocol):
    """Judges work units somewhere else.

    Obligations: a unit may be computed more than once (after a lost worker), its result is returned exactly once, in any
    order. Results are a pure function of the unit, whatever the number of workers. Only the campaign's thread calls these
    methods. A candidate that crashes, hangs or returns NaN yields a verdict; neighbours' results do not change. A worker
    that dies is replaced; after three tries of the same unit its candidates get the verdict "infra_failure".
    """

    @property
    def sandbox_level(self) -> str:
        """The isolation that scores are made at: "full", "reduced" or "none"."""

    def put(self, digest: bytes, data: bytes) -> None:
        """Makes an object available to all workers; putting it again changes nothing."""

    def fetch(self, digest: bytes) -> bytes:
        """Returns the row bytes of a kept child or of a put object. Raises KeyError where it is not held."""

    def retain(self, digests: Iterable[bytes]) -> None:
        """Keeps these objects, and what unfinished units need, and forgets all others.

        Rows of results that ``collect`` has not returned yet are not affected.
        """

    def submit(self, unit: WorkUnit) -> None:
        """Queues a unit; its parents and inputs must have been put or kept before. Never blocks for the work."""

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        """Returns at least one finished unit, or an empty list when ``timeout_s`` has passed."""

    def close(self) -> None:
        """Ends all workers and their children; closing twice changes nothing."""
