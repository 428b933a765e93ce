"""The evaluator over child processes of this machine: no Ray, one connection a worker, each with a judge of its own.

Nouns: a *seat* is a worker's place; when the process in it dies, a new seat takes the old one's place.
"""

from __future__ import annotations

import contextlib
import functools
import math
import select
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fitness.evaluators.deadline import unit_timeout_s
from fitness.evaluators.dispatch import Dispatch
from fitness.evaluators.worker import WorkerSettings
from fitness.judges.judge import Limits
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable
from fitness.processes import messages
from fitness.processes.child_process import end_process, python_command, start_process
from fitness.work.codec import result_from_parts, unit_to_parts
from fitness.work.object_table import Holdings, ObjectTable
from fitness.work.task import Task
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed

START_TIMEOUT_S = 180.0
#: A busy worker that gives no sign of life for so long is replaced; it gives one every second.
PULSE_PATIENCE_S = 30.0
ROUND_S = 1.0


@dataclass(eq=False)
class _Seat:
    """A worker's process, when it last gave a sign of life, and the objects it holds."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    pulse: socket.socket
    last_pulse: float
    holdings: Holdings = field(default_factory=Holdings)


class ProcessEvaluator:
    """An ``Evaluator`` over worker processes. An object travels to a worker once; a dead worker is replaced.

    Args:
        materialise: import path ``"module:function"``, imported by the workers.
        plugins: modules that register operations, imported by workers and judges.
        pulse_patience_s: a busy worker that gives no sign of life for so long counts as dead.
        is_jailed: as in ``WorkerSettings``.
    """

    def __init__(
        self,
        benchmark: Task,
        materialise: str,
        *,
        num_workers: int = 1,
        plugins: Sequence[str] = (),
        limits: Limits | None = None,
        plans: PlanTable = DEFAULT_PLANS,
        pulse_patience_s: float = PULSE_PATIENCE_S,
        is_jailed: bool = True,
    ) -> None:
        self._benchmark = benchmark
        self._settings = WorkerSettings(materialise, tuple(plugins), limits or Limits(), plans, is_jailed)
        self._objects: ObjectTable[bytes] = ObjectTable()
        timeout_s = functools.partial(unit_timeout_s, limits=self._settings.limits)
        self._dispatch: Dispatch[_Seat, bytes] = Dispatch(self._objects, benchmark, timeout_s)
        self._pulse_patience_s, self._last_felt = pulse_patience_s, time.monotonic()
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
            seat.holdings.drop(gone)

    def submit(self, unit: WorkUnit) -> None:
        self._dispatch.submit(unit)
        self._send_units()

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._dispatch.is_working and not self._dispatch.has_finished:
            self._send_units()
            if not self._serve(deadline):
                break
        finished = self._dispatch.take_finished()
        self._send_units()
        return finished

    def close(self) -> None:
        for seat in self._seats:
            seat.connection.close()
            seat.pulse.close()
        for seat in self._seats:
            end_process(seat.process, 5.0 if self._dispatch.deadline_of(seat) is None else 0.5)
        self._seats = []
        self._dispatch.clear()

    def _new_seat(self) -> _Seat:
        (ours, theirs), (pulse, beats) = socket.socketpair(), socket.socketpair()
        pulse.setblocking(False)
        with theirs, beats:
            numbers = (theirs.fileno(), beats.fileno())
            command = python_command("-m", "fitness.evaluators.worker_process", *map(str, numbers))
            process = start_process(command, *numbers)
        value, arrays = self._benchmark.to_parts()
        now = time.monotonic()
        seat, deadline = _Seat(process, ours, pulse, now), now + START_TIMEOUT_S
        self._dispatch.open(seat, deadline)
        try:
            fields = {"settings": self._settings.to_value(), "benchmark": value}
            messages.send(ours, messages.Message("start", fields, arrays), deadline)
        except (messages.Closed, messages.DeadlinePassed):
            pass  # the closed connection is noticed where all deaths are
        return seat

    def _wait_until_ready(self) -> None:
        while any(self._dispatch.is_starting(seat) for seat in self._seats):
            self._serve(None)

    def _send_units(self) -> None:
        while (run := self._dispatch.assign(time.monotonic())) is not None:
            new, forget = run.seat.holdings.pack(self._objects.needs(run.unit))
            fields, blobs = unit_to_parts(run.unit)
            message = {"unit": fields, "objects": new, "forget": forget}
            objects = [self._objects[digest] for digest in new]
            with contextlib.suppress(
                messages.Closed, messages.DeadlinePassed
            ):  # its death is noticed by the next _serve
                messages.send(run.seat.connection, messages.Message("unit", message, [*objects, *blobs]), run.deadline)

    def _serve(self, deadline: float | None) -> bool:
        """Waits for one event of the workers and handles it; returns False when the deadline passed before."""
        busy = [seat for seat in self._seats if self._dispatch.deadline_of(seat) is not None]
        first = self._dispatch.next_deadline()
        poll = select.poll()
        for seat in busy:
            poll.register(seat.connection, select.POLLIN)
        until = min(first, time.monotonic() + ROUND_S, math.inf if deadline is None else deadline)
        ready = {number for number, _ in poll.poll(max(until - time.monotonic(), 0.0) * 1000.0)}
        for seat in busy:
            if seat.connection.fileno() in ready:
                self._read_seat(seat)
        for seat in self._dispatch.overdue(time.monotonic()):
            self._lost(seat, "the worker gave no answer in time")
        self._feel_pulses()
        return bool(ready) or deadline is None or time.monotonic() < deadline

    def _feel_pulses(self) -> None:
        """Replaces busy workers that were stopped or hang so that not even a thread of theirs runs."""
        now = time.monotonic()
        if now - self._last_felt > PULSE_PATIENCE_S / 2:  # this process itself was stopped, or busy elsewhere
            for seat in self._seats:
                seat.last_pulse = now
        self._last_felt = now
        for seat in list(self._seats):
            seat.process.poll()  # reaps an idle one that was killed; it is replaced when it is to work again
            with contextlib.suppress(OSError):
                if seat.pulse.recv(1 << 16):
                    seat.last_pulse = now
            is_late = now - seat.last_pulse > self._pulse_patience_s
            if is_late and self._dispatch.run_of(seat) is not None:
                self._lost(seat, "the worker's process gives no sign of life")

    def _run_of(self, seat: _Seat) -> int:
        run = self._dispatch.run_of(seat)
        assert run is not None, "a worker spoke that was not asked"
        return run.number

    def _read_seat(self, seat: _Seat) -> None:
        try:
            message = messages.receive(seat.connection, self._dispatch.deadline_of(seat))
        except (messages.Closed, messages.DeadlinePassed):
            self._lost(seat, "the worker died")
            return
        if message.kind == "ready":
            self._dispatch.ready(seat)
            self._level = str(message.fields["sandbox_level"])
        elif message.kind == "unstarted":
            self._lost(seat, str(message.fields["reason"]))
        elif message.kind == "failed":
            raise EvaluatorFailed(f"a worker failed: {message.fields['reason']}\n{message.fields['traceback']}")
        elif message.kind == "retry":
            reason, kind = str(message.fields["reason"]), str(message.fields["kind"])
            self._dispatch.give_up(self._run_of(seat), reason, kind)
        else:
            self._finish(seat, message.fields, message.blobs)

    def _finish(self, seat: _Seat, fields: Any, blobs: Sequence[bytes | memoryview]) -> None:
        rows = {digest: bytes(row) for digest, row in zip(fields["kept"], blobs[3:], strict=True)}
        seat.holdings.made(rows)
        self._dispatch.finish(self._run_of(seat), result_from_parts(fields, blobs[:3]), rows)

    def _lost(self, seat: _Seat, reason: str) -> None:
        """Puts a new process in the seat of a dead one; its unit is tried again."""
        seat.connection.close()
        seat.pulse.close()
        end_process(seat.process, 0.0)
        code = f" (exit code {seat.process.returncode})" if self._dispatch.is_starting(seat) else ""
        self._dispatch.lose(seat, reason + code)
        self._seats[self._seats.index(seat)] = self._new_seat()
