"""The evaluator over child processes of this machine: no Ray, one connection a worker, each with a judge of its own.

Nouns: a *seat* is a worker's place; the process in it may die and be replaced.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fitness import verdict, wire
from fitness.benchmark import Benchmark
from fitness.child_process import end_process, start_process
from fitness.evaluator import UnitResult, WorkUnit
from fitness.judge import Limits
from fitness.objects import MAX_TRIES, ObjectTable
from fitness.plan import DEFAULT_PLANS, PlanTable
from fitness.unit_codec import result_from_parts, unit_to_parts
from fitness.worker import WorkerSettings, failed_result
from population.errors import EvaluatorFailed

START_TIMEOUT_S = 180.0


@dataclass
class _Seat:
    """A worker's process; ``known`` are the objects it holds, ``forget`` those it may drop, ``unit`` what it works on."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    deadline: float
    is_ready: bool = False
    known: set[bytes] = field(default_factory=set)
    forget: list[bytes] = field(default_factory=list)
    unit: WorkUnit | None = None


class ProcessEvaluator:
    """An ``Evaluator`` over worker processes. An object travels to a worker once; a dead worker is replaced.

    Args:
        materialise: import path ``"module:function"``, imported by the workers.
        plugins: modules that register operations, imported by workers and judges.
        unit_timeout_s: after so long a worker counts as dead; far beyond what tiles and limits can take.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        materialise: str,
        *,
        num_workers: int = 1,
        plugins: Sequence[str] = (),
        limits: Limits | None = None,
        plans: PlanTable = DEFAULT_PLANS,
        unit_timeout_s: float = 3600.0,
    ) -> None:
        self._benchmark = benchmark
        self._settings = WorkerSettings(materialise, tuple(plugins), limits or Limits(), plans)
        self._unit_timeout_s = unit_timeout_s
        self._objects: ObjectTable[bytes] = ObjectTable()
        self._queue: deque[WorkUnit] = deque()
        self._finished: list[UnitResult] = []
        self._reasons: dict[int, list[str]] = {}
        self._failed_starts = 0
        self._level = "reduced"
        self._seats = [self._new_seat() for _ in range(num_workers)]
        try:
            self._wait_until_ready()
        except EvaluatorFailed:
            self.close()
            raise

    @property
    def sandbox_level(self) -> str:
        return self._level

    @property
    def worker_pids(self) -> list[int]:
        """Returns the process ids of the workers."""
        return [seat.process.pid for seat in self._seats]

    def put(self, digest: bytes, data: bytes) -> None:
        self._objects.put(digest, data)

    def fetch(self, digest: bytes) -> bytes:
        return self._objects[digest]

    def retain(self, digests: Iterable[bytes]) -> None:
        gone = self._objects.retain(digests)
        for seat in self._seats:
            seat.forget.extend(digest for digest in gone if digest in seat.known)
            seat.known.difference_update(gone)

    def submit(self, unit: WorkUnit) -> None:
        self._objects.pin(unit)
        self._queue.append(unit)
        self._dispatch()

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._finished and (self._queue or any(seat.unit for seat in self._seats)):
            self._dispatch()
            if not self._serve(deadline):
                break
        finished, self._finished = self._finished, []
        self._dispatch()
        return finished

    def close(self) -> None:
        for seat in self._seats:
            seat.connection.close()
        for seat in self._seats:
            end_process(seat.process, 0.5 if seat.unit or not seat.is_ready else 5.0)
        self._seats = []
        self._queue.clear()
        self._objects.clear()

    def _new_seat(self) -> _Seat:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "fitness.worker_process", str(theirs.fileno())]
            process = start_process(command, theirs.fileno())
        value, arrays = self._benchmark.to_parts()
        seat = _Seat(process, ours, time.monotonic() + START_TIMEOUT_S)
        try:
            fields = {"settings": self._settings.to_value(), "benchmark": value}
            wire.send(ours, wire.Message("start", fields, arrays), seat.deadline)
        except (wire.Closed, wire.DeadlinePassed):
            pass  # the closed connection is noticed where all deaths are
        return seat

    def _wait_until_ready(self) -> None:
        while not all(seat.is_ready for seat in self._seats):
            self._serve(None)

    def _dispatch(self) -> None:
        for seat in self._seats:
            if self._queue and seat.is_ready and seat.unit is None:
                self._send_unit(seat, self._queue.popleft())

    def _send_unit(self, seat: _Seat, unit: WorkUnit) -> None:
        new = [digest for digest in self._objects.needs(unit) if digest not in seat.known]
        fields, blobs = unit_to_parts(unit)
        message = {"unit": fields, "objects": new, "forget": seat.forget}
        seat.unit, seat.deadline = unit, time.monotonic() + self._unit_timeout_s
        try:
            objects = [self._objects[digest] for digest in new]
            wire.send(seat.connection, wire.Message("unit", message, [*objects, *blobs]), seat.deadline)
        except (wire.Closed, wire.DeadlinePassed):
            return  # its death is noticed by the next _serve
        seat.known.update(new)
        seat.forget = []

    def _serve(self, deadline: float | None) -> bool:
        """Waits for one event of the workers and handles it; returns False when the deadline passed before."""
        busy = [seat for seat in self._seats if seat.unit is not None or not seat.is_ready]
        first = min(seat.deadline for seat in busy)
        poll = select.poll()
        for seat in busy:
            poll.register(seat.connection, select.POLLIN)
        until = first if deadline is None else min(first, deadline)
        ready = {number for number, _ in poll.poll(max(until - time.monotonic(), 0.0) * 1000.0)}
        for seat in busy:
            if seat.connection.fileno() in ready:
                self._read_seat(seat)
            elif time.monotonic() >= seat.deadline:
                self._lost(seat, "the worker gave no answer in time")
        return bool(ready) or deadline is None or time.monotonic() < deadline

    def _read_seat(self, seat: _Seat) -> None:
        try:
            message = wire.receive(seat.connection, seat.deadline)
        except (wire.Closed, wire.DeadlinePassed):
            self._lost(seat, "the worker died")
            return
        if message.kind == "ready":
            seat.is_ready, self._failed_starts = True, 0
            self._level = str(message.fields["sandbox_level"])
        elif message.kind == "failed":
            raise EvaluatorFailed(f"a worker failed: {message.fields['reason']}\n{message.fields['traceback']}")
        elif message.kind == "retry":
            self._try_again(seat, str(message.fields["reason"]))
        else:
            self._finish(seat, message.fields, message.blobs)

    def _finish(self, seat: _Seat, fields: Any, blobs: Sequence[bytes | memoryview]) -> None:
        unit, seat.unit = seat.unit, None
        assert unit is not None
        result = result_from_parts(fields, blobs[:3])
        for digest, row in zip(fields["kept"], blobs[3:], strict=True):
            self._objects.put(digest, bytes(row))
            seat.known.add(digest)
        self._complete(unit, result)

    def _complete(self, unit: WorkUnit, result: UnitResult) -> None:
        self._objects.release(unit)
        retries = [{"kind": "retry", "reason": reason} for reason in self._reasons.pop(unit.unit_id, [])]
        self._finished.append(replace(result, incidents=[*result.incidents, *retries]))

    def _lost(self, seat: _Seat, reason: str) -> None:
        """Puts a new process in the seat of a dead one, and its unit back at the head of the queue."""
        seat.connection.close()
        end_process(seat.process, 0.0)
        if not seat.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_TRIES:
                raise EvaluatorFailed(f"worker processes do not start: exit code {seat.process.returncode}")
        self._try_again(seat, reason)
        self._seats[self._seats.index(seat)] = self._new_seat()

    def _try_again(self, seat: _Seat, reason: str) -> None:
        unit, seat.unit = seat.unit, None
        if unit is None:
            return
        reasons = self._reasons.setdefault(unit.unit_id, [])
        reasons.append(reason)
        if len(reasons) < MAX_TRIES:
            self._queue.appendleft(unit)
        else:
            self._complete(unit, failed_result(unit, self._benchmark, verdict.INFRA_FAILURE, reason))
