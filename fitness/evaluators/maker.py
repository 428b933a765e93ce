"""Makes the children of a unit in a jail, where a plugin's code takes part: one child of the zygote a candidate.

The jail holds the training rows and the rows of that candidate's own parents; no other row, no other label, no other
candidate. What comes back are bytes of a row, which are checked as if they came from a stranger.

Nouns: *maker* (what makes one candidate's row, or says why there is none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from blake3 import blake3

from fitness.measures.splits import SPLITS
from fitness.processes import verdicts
from fitness.processes.isolation import IsolationReport
from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Failure, Limits
from fitness.work.codec import unit_to_parts
from fitness.work.task import Task
from fitness.work.work_unit import NO_PARENT, WorkUnit
from population.errors import FormatError
from population.graphs.graph import OpGraph
from population.stacks.row_format import decode_rows, encode_row
from population.stacks.stack import Stack

PROCESS = "fitness.evaluators.maker_process"
#: What a row may hold beyond four times its numbers and what parents brought: its header, a strategy's state.
SPARE_BYTES = 1 << 20


class JailedMaker:
    """Makes single candidates. One thread at a time.

    Args:
        materialise: import path ``"module:function"``, imported by the zygote. plugins: modules it imports before.
        training: the benchmark with its training rows only.
        without: layers of the jail not to put up.
    """

    def __init__(
        self,
        materialise: str,
        training: Task,
        *,
        plugins: Sequence[str] = (),
        limits: Limits | None = None,
        without: Sequence[str] = (),
    ) -> None:
        value, arrays = training.training_only().to_parts()
        start: dict[str, Any] = {"plugins": list(plugins), "materialise": materialise, "benchmark": value}
        self._cell = Cell(PROCESS, start, limits or Limits(), blobs=arrays, without=without)
        self._split_digests = {training.digest(split) for split in SPLITS}

    @property
    def report(self) -> IsolationReport:
        """What a child can still do on this machine, found by attacking from within. Raises: EvaluatorFailed."""
        return self._cell.report

    def make(self, unit: WorkUnit, row: int, read_object: Callable[[bytes], bytes]) -> Stack | Failure:
        """Returns the row of one candidate, or why it could not be made; always in a child that has made nothing before.

        Raises:
            InfrastructureError: an object is missing, or no jail can be had: not the candidate's fault.
        """
        single = narrowed(unit, row)
        digests = [*single.parents, *(digest for digest in single.inputs if digest not in self._split_digests)]
        objects = [read_object(digest) for digest in digests]
        graph = OpGraph.from_value(single.graph)
        taken_bytes = 4 * graph.bytes(graph.symbols) + sum(map(len, objects)) + SPARE_BYTES
        fields, (candidate,) = unit_to_parts(single)
        parts = [candidate, *objects]
        message = {"unit": fields, "objects": digests, "sizes": [len(part) for part in parts]}
        try:
            answer = self._cell.ask_once("make", message, parts, taken_bytes, "row")
            if isinstance(answer, Failure):
                return answer
            return self._checked(graph, answer.fields.get("bytes"), answer.fields.get("digest"))
        finally:
            self._cell.end_child()

    def reap_dead(self) -> None:
        """Reaps a zygote that is dead; from any thread."""
        self._cell.reap_dead()

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._cell.abandon()

    def _checked(self, graph: OpGraph, size: Any, digest: Any) -> Stack | Failure:
        """Returns the row that lies in the memory, copied before it is looked at."""
        assert self._cell.child is not None
        taken = self._cell.child.taken
        if not isinstance(size, int) or not 0 <= size <= taken.size:
            return Failure(verdicts.OUTPUT, "answered with something else than a row")
        data = taken.memory[:size]
        if blake3(data).digest() != digest:
            return Failure(verdicts.OUTPUT, "the row changed after it was answered")
        try:
            stack = decode_rows(graph, [data])
        except (FormatError, ValueError) as error:
            return Failure(verdicts.OUTPUT, verdicts.one_line(str(error)))
        if encode_row(stack, 0) != data:
            return Failure(verdicts.OUTPUT, "the row is not written as rows are")
        return stack


def narrowed(unit: WorkUnit, row: int) -> WorkUnit:
    """Returns the unit of one candidate alone, with its own parents and inputs and no other."""
    candidate = unit.candidates[row : row + 1].copy()
    used = sorted({int(index) for index in candidate["parents"][0] if index != NO_PARENT})
    places = {index: place for place, index in enumerate(used)}
    candidate["parents"] = [[places.get(int(index), NO_PARENT) for index in candidate["parents"][0]]]
    mask = int(candidate["inputs"][0])
    inputs = tuple(digest for bit, digest in enumerate(unit.inputs) if mask >> bit & 1)
    candidate["inputs"] = np.uint64(2 ** len(inputs) - 1)
    return replace(unit, parents=tuple(unit.parents[index] for index in used), inputs=inputs, candidates=candidate)
