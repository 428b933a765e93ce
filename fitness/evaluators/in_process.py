"""The evaluator without workers: the campaign's own process makes the children; they are judged inline or in a jail.

With a jailed judge, children that a plugin's code takes part in are made in a jail too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fitness.evaluators.worker import WorkerSettings, failed_result, make_worker
from fitness.judges.judge import InlineJudge, Judge
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable
from fitness.processes import verdicts
from fitness.work.object_table import MAX_TRIES, ObjectTable, kept_rows, missing_object
from fitness.work.task import Task
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed, JailUnavailable, SimulatorFailed


class InProcessEvaluator:
    """An ``Evaluator`` that works while ``collect`` waits, one unit a call.

    Args:
        materialise: import path ``"module:function"``.
        judge: an ``InlineJudge`` by default, which is isolation level "none"; closed with the evaluator.
        plugins: modules that register operations.
    """

    def __init__(
        self,
        benchmark: Task,
        materialise: str,
        *,
        judge: Judge | None = None,
        plugins: Sequence[str] = (),
        plans: PlanTable = DEFAULT_PLANS,
    ) -> None:
        self._benchmark = benchmark
        settings = WorkerSettings(materialise, tuple(plugins), plans=plans)
        self._worker = make_worker(settings, benchmark, judge or InlineJudge())
        self._objects: ObjectTable[bytes] = ObjectTable()
        self._queue: deque[WorkUnit] = deque()

    @property
    def sandbox_level(self) -> str:
        return self._worker.sandbox_level

    def put(self, digest: bytes, data: bytes) -> None:
        self._objects.put(digest, data)

    def fetch(self, digest: bytes) -> bytes:
        return self._objects[digest]

    def retain(self, digests: Iterable[bytes]) -> None:
        self._objects.retain(digests)

    def submit(self, unit: WorkUnit) -> None:
        self._objects.pin(unit)
        self._queue.append(unit)

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        if not self._queue:
            return []
        unit = self._queue.popleft()
        result, rows = self._evaluate(unit)
        for digest, row in kept_rows(unit, result, rows):
            self._objects.put(digest, row)
        self._objects.release(unit)
        return [result]

    def close(self) -> None:
        self._worker.close()
        self._queue.clear()
        self._objects.clear()

    def _evaluate(self, unit: WorkUnit) -> tuple[UnitResult, list[bytes | None]]:
        reasons = []
        for _ in range(MAX_TRIES):
            try:
                return self._worker.evaluate(unit, self._read)
            except EvaluatorFailed as error:
                reasons.append(verdicts.one_line(str(error)))
                if isinstance(error, JailUnavailable | SimulatorFailed) and len(reasons) == MAX_TRIES:
                    raise
        result = failed_result(unit, self._benchmark, verdicts.INFRA_FAILURE, reasons[-1])
        incidents = [{"kind": "retry", "reason": reason} for reason in reasons]
        return replace(result, incidents=incidents), [None] * len(unit.candidates)

    def _read(self, digest: bytes) -> bytes:
        if digest not in self._objects:
            raise missing_object(digest)
        return self._objects[digest]
