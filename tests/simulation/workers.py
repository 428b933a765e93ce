"""Workers that live in the simulated world: they die, hang, come late, answer twice, and are replaced.

The driver's side decides by ``fitness.evaluators.dispatch``, as the evaluators do that run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fitness.benchmarks.benchmark import Benchmark
from fitness.evaluators.dispatch import Dispatch, Try
from fitness.processes import verdicts
from fitness.work.object_table import MAX_TRIES, Holdings, ObjectTable
from fitness.work.work_unit import UnitResult, WorkUnit
from tests.simulation.disk import Disk
from tests.simulation.oracle import Doom, Oracle
from tests.simulation.world import Violation, World

#: Short, since a driver looks up every half second of the world's time.
START_TIMEOUT_S = 20.0
UNIT_TIMEOUT_S = 60.0


@dataclass(eq=False)
class Seat:
    """A worker: what the driver knows of it, and what it is. told_until, heard_until: when the last ordered messages arrive."""

    holdings: Holdings = field(default_factory=Holdings)
    objects: dict[bytes, bytes] = field(default_factory=dict)
    is_alive: bool = True
    heard_until: float = 0.0
    told_until: float = 0.0


class SimulatedEvaluator:
    """An ``Evaluator`` over simulated workers, for one life of a driver.

    Args:
        disk: the driver's, which knows whether it lives. crash_at: the call, counted from 0, in which the driver dies.
    """

    def __init__(
        self,
        world: World,
        disk: Disk,
        oracle: Oracle,
        benchmark: Benchmark,
        *,
        num_workers: int,
        doom: Doom,
        level: str,
        crash_at: int | None,
        on_wait: Callable[[], None],
    ) -> None:
        self._world, self._disk, self._oracle, self._doom = world, disk, oracle, doom
        self._objects: ObjectTable[bytes] = ObjectTable()
        self._dispatch: Dispatch[Seat, bytes] = Dispatch(self._objects, benchmark, UNIT_TIMEOUT_S)
        self._level, self._crash_at, self._on_wait = level, crash_at, on_wait
        self._num_calls, self._bad_starts = 0, 0
        self._tries: Counter[int] = Counter()
        self._returned: set[int] = set()
        self._seats: list[Seat] = []
        self.exhausted: dict[int, str] = {}
        for _ in range(num_workers):
            self._new_seat()
        while any(self._dispatch.is_starting(seat) for seat in self._seats):
            self._serve(float("inf"))

    @property
    def sandbox_level(self) -> str:
        """What the results were computed at."""
        return self._level

    def put(self, digest: bytes, data: bytes) -> None:
        """Holds an object."""
        self._called()
        self._objects.put(digest, data)

    def fetch(self, digest: bytes) -> bytes:
        """Returns an object."""
        self._called()
        return self._objects[digest]

    def retain(self, digests: Iterable[bytes]) -> None:
        """Forgets all but these."""
        self._called()
        gone = self._objects.retain(digests)
        for seat in self._seats:
            seat.holdings.drop(gone)

    def submit(self, unit: WorkUnit) -> None:
        """Queues a unit."""
        self._called()
        self._dispatch.submit(unit)
        self._send_units()

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        """Lets the world go on until a result is there."""
        self._called()
        self._on_wait()
        if not self._dispatch.is_working and not self._dispatch.has_finished:
            raise Violation("deadlock: the driver waits for results and nothing is submitted")
        deadline = float("inf") if timeout_s is None else self._world.seconds + timeout_s
        while self._dispatch.is_working and not self._dispatch.has_finished:
            self._send_units()
            if not self._serve(deadline):
                break
        finished = self._dispatch.take_finished()
        for result in finished:
            if result.unit_id in self._returned:
                raise Violation(f"the result of unit {result.unit_id} was accepted twice")
            self._returned.add(result.unit_id)
            failed = [
                detail
                for cause, detail in zip(result.verdicts, result.details, strict=True)
                if cause == verdicts.INFRA_FAILURE
            ]
            self.exhausted[result.unit_id] = failed[0] if failed else ""
        self._send_units()
        return finished

    def close(self) -> None:
        """Ends all workers."""
        self._dispatch.clear()

    # ---- the driver's side -----------------------------------------------------------------------------------------

    def _called(self) -> None:
        number, self._num_calls = self._num_calls, self._num_calls + 1
        if number == self._crash_at or self._disk.is_dead:
            self._disk.die()

    def _serve(self, deadline: float) -> bool:
        first = self._dispatch.next_deadline()
        happened = self._world.wait(min(first, deadline))
        for seat in self._dispatch.overdue(self._world.seconds):
            self._lost(seat, "the worker gave no answer in time")
        return happened or self._world.seconds < deadline

    def _send_units(self) -> None:
        while (run := self._dispatch.assign(self._world.seconds)) is not None:
            self._tries[run.unit.unit_id] += 1
            if self._tries[run.unit.unit_id] > MAX_TRIES:
                raise Violation(f"unit {run.unit.unit_id} was tried more than {MAX_TRIES} times")
            self._world.counts["runs"] += 1
            new, forget = run.seat.holdings.pack(self._objects.needs(run.unit))
            cargo = {digest: self._objects[digest] for digest in new}
            self._world.later(self._delay(run.seat, to_worker=True), self._work(run, cargo, forget))
            if not self._world.weather.is_ordered and self._world.chance(self._world.weather.duplicate_rate):
                self._world.counts["duplicates"] += 1
                self._world.later(self._delay(run.seat, to_worker=True), self._work(run, cargo, []))

    def _lost(self, seat: Seat, reason: str) -> None:
        if self._dispatch.lose(seat, reason):
            self._world.counts["workers replaced"] += 1
            self._seats.remove(seat)
            self._new_seat()

    def _new_seat(self) -> None:
        world, seat = self._world, Seat()
        self._seats.append(seat)
        self._dispatch.open(seat, world.seconds + START_TIMEOUT_S)
        if self._bad_starts < MAX_TRIES - 1 and world.chance(world.weather.bad_start_rate):
            self._bad_starts += 1
            if world.chance(0.5):
                world.later(world.rng.uniform(0.0, 1.0), lambda: self._lost(seat, "the worker died"))
                return
            world.later(START_TIMEOUT_S + world.rng.uniform(-1.0, 20.0), lambda: self._dispatch.ready(seat))
            return
        self._bad_starts = 0
        world.later(world.rng.uniform(0.1, 5.0), lambda: self._dispatch.ready(seat))

    # ---- the workers' side -----------------------------------------------------------------------------------------

    def _delay(self, seat: Seat, *, to_worker: bool) -> float:
        weather, rng = self._world.weather, self._world.rng
        delay = rng.uniform(0.0, weather.spread_s)
        if not weather.is_ordered:
            return delay
        last = seat.told_until if to_worker else seat.heard_until
        at = max(self._world.seconds + delay, last)
        if to_worker:
            seat.told_until = at
        else:
            seat.heard_until = at
        return at - self._world.seconds

    def _work(self, run: Try[Seat], cargo: dict[bytes, bytes], forget: list[bytes]) -> Callable[[], None]:
        def arrived() -> None:
            if run.seat.is_alive:
                for digest in forget:
                    run.seat.objects.pop(digest, None)
                run.seat.objects.update(cargo)
                self._judge(run)

        return arrived

    def _judge(self, run: Try[Seat]) -> None:
        world, weather, seat = self._world, self._world.weather, run.seat
        is_last_try = self._tries[run.unit.unit_id] >= MAX_TRIES or not self._dispatch.is_running(run.number)
        is_doomed = self._doom.falls_on(run.unit)
        fate = world.rng.random()
        refuses = is_doomed or (not is_last_try and fate < weather.refuse_rate)
        if refuses:
            world.counts["refusals"] += 1
            self._tell(seat, lambda: self._dispatch.give_up(run.number, "the judge cannot be had"))
            return
        if not is_last_try and world.chance(weather.die_rate):
            self._die(run)
            return
        if not is_last_try and world.chance(weather.hang_rate):
            world.counts["hangs"] += 1
            if world.chance(0.5):
                seat.is_alive = False
                return
            service_s = UNIT_TIMEOUT_S + world.rng.uniform(-2.0, 20.0)
        elif world.chance(weather.late_rate):
            service_s = world.rng.uniform(0.0, UNIT_TIMEOUT_S / 3)
        else:
            service_s = world.rng.uniform(0.01, 2.0)
        world.later(service_s, lambda: self._answer(run))

    def _die(self, run: Try[Seat]) -> None:
        """Dies before its work, or after it with the answer on the way or lost; the driver hears of it."""
        self._world.counts["worker deaths"] += 1
        if self._world.chance(0.5):
            self._answer(run)
        run.seat.is_alive = False
        self._tell(run.seat, lambda: self._lost(run.seat, "the worker died"))

    def _answer(self, run: Try[Seat]) -> None:
        if not run.seat.is_alive:
            return
        try:
            result, rows = self._oracle.answer(run.unit, lambda digest: self._read(run, digest))
        except KeyError:
            return  # nobody waits for this run any more, and what it reads is forgotten
        run.seat.objects.update(rows)

        def heard() -> None:
            if self._dispatch.is_running(run.number):
                run.seat.holdings.made(rows)
            if not self._dispatch.finish(run.number, result, rows):
                self._world.counts["answers that came too late or twice"] += 1

        self._tell(run.seat, heard)
        if self._world.chance(self._world.weather.duplicate_rate):
            self._world.counts["duplicates"] += 1
            self._tell(run.seat, heard)

    def _tell(self, seat: Seat, action: Callable[[], object]) -> None:
        self._world.later(self._delay(seat, to_worker=False), lambda: _do(action))

    def _read(self, run: Try[Seat], digest: bytes) -> bytes:
        if self._world.weather.is_ordered:
            found = run.seat.objects.get(digest)
        elif digest in self._objects:
            found = self._objects[digest]
        else:
            found = None
        if found is None and self._dispatch.is_running(run.number):
            raise Violation(f"unit {run.unit.unit_id} reads object {digest.hex()[:16]}, which is not there")
        if found is None:
            raise KeyError(digest)
        return found


def _do(action: Callable[[], object]) -> None:
    action()
