"""Which unit goes to which worker, what happens when one is lost, and which of its answers counts.

Nothing here waits, sends or asks for the time: evaluators do so with processes, with Ray, or in a simulation, and all of
them decide by this one class.

Nouns: a *seat* is a worker's place (whatever an evaluator names it by); a *run* is one try of a unit in a seat.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from fitness.evaluators.worker import failed_result
from fitness.processes import verdicts
from fitness.work.object_table import MAX_TRIES, Held, ObjectTable
from fitness.work.task import Task
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed, InfrastructureError, JailUnavailable, SimulatorFailed

Seat = TypeVar("Seat", bound=Hashable)
#: Why a unit is tried again: its computing was lost, or may have been; or it never began, for what it reads did not arrive;
#: or the machine gave no jail to begin in, or a simulator fails whoever plays, which is no unit's fault: when tries are used
#: up for that, the evaluator fails.
RETRY, UNREAD, UNABLE = "retry", "unread", "unable"


def kind_of(error: InfrastructureError) -> str:
    """Returns why a unit that ended with this error is tried again."""
    return UNABLE if isinstance(error, JailUnavailable | SimulatorFailed) else RETRY


@dataclass(frozen=True)
class Try(Generic[Seat]):
    """One try of a unit. number: unlike that of any other try; deadline: when its seat counts as dead."""

    number: int
    seat: Seat
    unit: WorkUnit
    deadline: float


class Dispatch(Generic[Seat, Held]):
    """The queue, the seats and the tries of an evaluator. Not thread-safe; times are whatever clock the caller reads.

    A run ends once: by ``finish``, by ``give_up`` or with its seat. What is said of it later, or twice, changes nothing.

    Args:
        unit_timeout_s: after so long without an answer a seat counts as dead; a number, or what gives a unit's.
    """

    def __init__(
        self,
        objects: ObjectTable[Held],
        benchmark: Task,
        unit_timeout_s: float | Callable[[WorkUnit], float] = math.inf,
    ) -> None:
        self.objects = objects
        self._benchmark = benchmark
        self._unit_timeout_s = unit_timeout_s
        self._starting: dict[Seat, float] = {}
        self._idle: deque[Seat] = deque()
        self._runs: dict[int, Try[Seat]] = {}
        self._queue: deque[WorkUnit] = deque()
        self._reasons: dict[int, list[tuple[str, str]]] = {}
        self._finished: list[UnitResult] = []
        self._num_runs, self._failed_starts = 0, 0

    # ---- seats ---------------------------------------------------------------------------------------------------

    def open(self, seat: Seat, deadline: float) -> None:
        """Notes a seat whose worker is starting, and when it counts as dead."""
        self._starting[seat] = deadline

    def is_starting(self, seat: Seat) -> bool:
        """Whether a seat's worker is not up yet."""
        return seat in self._starting

    def is_seated(self, seat: Seat) -> bool:
        """Whether a seat is there: starting, idle or at work."""
        return seat in self._starting or seat in self._idle or self.run_of(seat) is not None

    def ready(self, seat: Seat) -> None:
        """Notes that a seat's worker is up; one that was lost meanwhile stays lost."""
        if self._starting.pop(seat, None) is not None:
            self._failed_starts = 0
            self._idle.append(seat)

    def lose(self, seat: Seat, reason: str) -> bool:
        """Takes a seat away and tries its unit again; returns whether the seat was there.

        Raises:
            EvaluatorFailed: so many workers on end died before they were up that no more will be tried.
        """
        if self._starting.pop(seat, None) is not None:
            self._failed_starts += 1
            if self._failed_starts >= MAX_TRIES:
                raise EvaluatorFailed(f"workers do not start: {reason}")
            return True
        run = self.run_of(seat)
        if run is not None:
            self.give_up(run.number, reason)
        if seat not in self._idle:
            return False
        self._idle.remove(seat)
        return True

    # ---- units ---------------------------------------------------------------------------------------------------

    def submit(self, unit: WorkUnit) -> None:
        """Queues a unit. Raises EvaluatorFailed where a parent of it is not held."""
        self.objects.pin(unit)
        self._queue.append(unit)

    def assign(self, now: float) -> Try[Seat] | None:
        """Returns the run that begins now, or None where no unit or no seat is free."""
        if not self._queue or not self._idle:
            return None
        seat, unit, timeout_s = self._idle.popleft(), self._queue.popleft(), self._unit_timeout_s
        run = Try(self._num_runs, seat, unit, now + (timeout_s(unit) if callable(timeout_s) else timeout_s))
        self._num_runs += 1
        self._runs[run.number] = run
        return run

    def run_of(self, seat: Seat) -> Try[Seat] | None:
        """Returns what a seat works on."""
        return next((run for run in self._runs.values() if run.seat == seat), None)

    def deadline_of(self, seat: Seat) -> float | None:
        """Returns when a seat counts as dead; None where nothing is waited for from it."""
        return dict(self._deadlines()).get(seat)

    def is_running(self, number: int) -> bool:
        """Whether the answer to this run still counts."""
        return number in self._runs

    def finish(self, number: int, result: UnitResult, rows: Mapping[bytes, Held]) -> bool:
        """Takes the result of a run and holds the rows of its kept children; returns whether it counted."""
        run = self._end(number)
        if run is None:
            return False
        for digest, held in rows.items():
            self.objects.put(digest, held)
        self._complete(run.unit, result)
        return True

    def give_up(self, number: int, reason: str, kind: str = RETRY) -> bool:
        """Ends a run without a result: its unit is tried again, first of all, or fails when its tries are used up.

        Args:
            kind: ``UNREAD`` or ``UNABLE`` where nothing was computed; such tries are counted apart.

        Raises:
            EvaluatorFailed: this unit's tries were used up for want of a jail, or of a simulator.
        """
        run = self._end(number)
        if run is None:
            return False
        reasons = self._reasons.setdefault(run.unit.unit_id, [])
        reasons.append((kind, reason))
        if Counter(kind for kind, _ in reasons)[kind] < MAX_TRIES:
            self._queue.appendleft(run.unit)
        elif kind == UNABLE:
            raise EvaluatorFailed(f"nothing can be judged here: {reason}")
        else:
            self._complete(run.unit, failed_result(run.unit, self._benchmark, verdicts.INFRA_FAILURE, reason))
        return True

    def take_finished(self) -> list[UnitResult]:
        """Returns the results that were not taken before."""
        finished, self._finished = self._finished, []
        return finished

    # ---- what is waited for ----------------------------------------------------------------------------------------

    @property
    def has_finished(self) -> bool:
        """Whether a result waits to be taken."""
        return bool(self._finished)

    @property
    def is_working(self) -> bool:
        """Whether a unit is queued or runs."""
        return bool(self._queue or self._runs)

    def overdue(self, now: float) -> list[Seat]:
        """Returns the seats whose worker should have answered, or started, by now."""
        return [seat for seat, deadline in self._deadlines() if now >= deadline]

    def next_deadline(self) -> float:
        """Returns when the next seat counts as dead; infinity where nothing is waited for."""
        return min((deadline for _, deadline in self._deadlines()), default=math.inf)

    def clear(self) -> None:
        """Forgets seats, units, results and objects."""
        for held in (self._starting, self._idle, self._runs, self._queue, self._reasons, self._finished, self.objects):
            held.clear()

    def _deadlines(self) -> list[tuple[Seat, float]]:
        return [*self._starting.items(), *((run.seat, run.deadline) for run in self._runs.values())]

    def _end(self, number: int) -> Try[Seat] | None:
        run = self._runs.pop(number, None)
        if run is not None:
            self._idle.append(run.seat)
        return run

    def _complete(self, unit: WorkUnit, result: UnitResult) -> None:
        self.objects.release(unit)
        retries = [{"kind": kind, "reason": reason} for kind, reason in self._reasons.pop(unit.unit_id, [])]
        self._finished.append(replace(result, incidents=[*result.incidents, *retries]))
