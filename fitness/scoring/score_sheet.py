"""The score sheet of one judging: verdicts, scores and costs of every row, whatever the rows were judged on.

Shapes: n rows, T tiers, M objectives, K skills, N samples of the split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from fitness.processes import verdicts as verdict
from fitness.processes.limits import Failure
from fitness.work.task import Task
from fitness.work.work_unit import Judging
from population.errors import BenchmarkError
from population.graphs.graph import OpGraph
from population.operations import dimensions as dims
from population.operations import get as get_operation
from population.stacks.stack import Stack

T = TypeVar("T")


@dataclass(frozen=True)
class ScoreSheet:
    """What judging gave for the n rows of a stack; see ``UnitResult``.

    ``merits``: float32 ``[n, T, N]``, what each sample of the split adds to the principal objective, for paired tests; of
    several targets the weighted mean.
    """

    verdicts: list[str]
    details: list[str]
    scores: npt.NDArray[np.float64]
    skills: npt.NDArray[np.float64]
    flops: npt.NDArray[np.int64]
    merits: npt.NDArray[np.float32]
    incidents: list[dict[str, Any]]


def check_graph(graph: OpGraph, task: Task) -> None:
    """Refuses a graph that cannot answer a task.

    Raises:
        BenchmarkError: an input channel or the shape of an output does not fit.
    """
    known = task.input_shapes
    for channel in graph.inputs:
        found = known.get(channel.name)
        if found != tuple(channel.shape):
            raise BenchmarkError(
                f"input channel {channel.name!r} has shape {tuple(channel.shape)} in the graph, but {found} in benchmark "
                f"{task.name!r} (its channels: {', '.join(known)})"
            )
    for output, size in task.answers_of([name for name, _ in graph.outputs]):
        shape = list(dims.sizes(graph.value_shapes[dict(graph.outputs)[output]], graph.symbols))
        if shape != [size]:
            raise BenchmarkError(
                f"output channel {output!r} has shape {shape}, but benchmark {task.name!r} is answered with {size} numbers; "
                f"it must be [{size}]"
            )


class Sheet:
    """The score sheet of a stack's rows; whoever judges fills it in."""

    def __init__(self, stack: Stack, task: Task, judging: Judging) -> None:
        self._stack, self._task = stack, task
        self._costs = {"flops": _count(stack, judging, stack.graph.flops)}
        if any(objective.name == "bytes" for objective in task.objectives):
            self._costs["bytes"] = _count(stack, judging, stack.graph.bytes)
        num, num_tiers = stack.num_rows, len(judging.tiers)
        self.judged = ScoreSheet(
            verdicts=[verdict.OK] * num,
            details=[""] * num,
            scores=np.full((num, num_tiers, len(task.objectives)), np.nan),
            skills=np.full((num, num_tiers, len(task.skills)), np.nan),
            flops=self._costs["flops"],
            merits=np.zeros((num, num_tiers, task.num_samples(judging.split)), dtype=np.float32),
            incidents=[],
        )

    def finite_rows(self) -> list[int]:
        """Returns the rows whose tensors are finite; the others get their verdict."""
        finite = torch.ones(self._stack.num_rows, dtype=torch.bool)
        for tensor in self._stack.tensors.values():
            finite &= torch.isfinite(tensor).reshape(self._stack.num_rows, -1).all(dim=1)
        for row in torch.nonzero(~finite).flatten().tolist():
            self.fail(row, Failure(verdict.NAN, "holds a parameter that is NaN or infinite"))
        return [int(row) for row in torch.nonzero(finite).flatten().tolist()]

    def fail(self, row: int, failure: Failure) -> None:
        """Notes why a row has no scores."""
        self.judged.verdicts[row], self.judged.details[row] = failure.cause, failure.detail

    def settle(
        self,
        rows: Sequence[int],
        found: T | Failure,
        alone: Callable[[int], T | Failure],
        score: Callable[[Sequence[int], T], None],
    ) -> None:
        """Scores rows that were judged together. Where they failed, each is judged again by itself, so that none pays for
        another; once more where it is doubtful whether the failure is its own.

        Args:
            found: what judging them gave. alone: judges one row in a jail that has run nothing.
        """
        if not isinstance(found, Failure):
            score(rows, found)
            return
        if len(rows) == 1 and not found.is_doubtful:
            self.fail(rows[0], found)
            return
        self.judged.incidents.append({"kind": "tile_failed", "cause": found.cause, "candidates": len(rows)})
        for row in rows:
            own = alone(row)
            if isinstance(own, Failure) and own.is_doubtful:
                own = alone(row)
            if isinstance(own, Failure):
                self.fail(row, own)
            else:
                score([row], own)

    def score(
        self,
        rows: Sequence[int],
        tier: int,
        scores: Mapping[str, npt.NDArray[np.float64]],
        *,
        skills: npt.NDArray[np.float64] | None = None,
        merits: npt.NDArray[Any] | None = None,
    ) -> None:
        """Writes down what was measured of some rows at a tier; costs are counted here.

        Args:
            scores: objective -> ``[rows]``. skills: ``[rows, K]``. merits: ``[rows, N]``; None where there are none.
        """
        costs = {name: counted[rows, tier].astype(np.float64) for name, counted in self._costs.items()}
        columns = {**scores, **costs}
        found = [columns[objective.name] for objective in self._task.objectives]
        self.judged.scores[rows, tier] = np.stack(found, axis=1)
        if skills is not None:
            self.judged.skills[rows, tier] = skills
        if merits is not None:
            self.judged.merits[rows, tier] = merits


def _count(stack: Stack, judging: Judging, cost: Callable[[Mapping[str, int]], int]) -> npt.NDArray[np.int64]:
    """Returns what a cost comes to at the widths that each row computes with in each tier, its own cut to the tier's,
    ``[n, T]``; equal widths are counted once."""
    names, known = stack.graph.symbol_names, np.zeros((stack.num_rows, len(judging.tiers)), dtype=np.int64)
    own = stack.widths.numpy()
    different, positions = np.unique(own, axis=0, return_inverse=True)
    for tier, widths in enumerate(judging.tiers.values()):
        cut = [
            {symbol: min(width, widths.get(symbol, width)) for symbol, width in zip(names, row, strict=True)}
            for row in different.tolist()
        ]
        known[:, tier] = np.array([cost(live) for live in cut], dtype=np.int64)[positions.reshape(-1)]
    return known


def has_plugins(graph: OpGraph) -> bool:
    """Returns whether a graph holds operations of another package."""
    return any(get_operation(node.op).is_plugin for node in graph.schedule)
