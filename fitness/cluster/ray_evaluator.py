"""The evaluator over Ray actors: on this machine or on a cluster whose workers, nodes and objects may be lost.

Ray is treated as an unreliable executor of pure functions: a unit may run more than once, its result is taken once, and
only when the rows of its kept children have arrived here as well. So the loss of any node loses nothing: references let
weights travel from worker to worker while the nodes live, and the bytes held here are laid down anew when one is gone.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.cluster.node_fingerprint import ABSENT, fingerprint_here, source_digest
from fitness.cluster.ray_cluster import RayCluster
from fitness.cluster.ray_fleet import Fleet, Member
from fitness.cluster.ray_worker import Failed, Place
from fitness.evaluators.deadline import unit_timeout_s
from fitness.evaluators.dispatch import Dispatch, Try
from fitness.evaluators.worker import WorkerSettings
from fitness.judges.judge import Limits
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable
from fitness.processes import verdicts
from fitness.work.object_table import ObjectTable
from fitness.work.task import Task
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed

OBJECT_STORE_BYTES = 256 << 20
#: The loop comes round at least this often, to look after the fleet.
ROUND_S = 1.0


class RayEvaluator:
    """An ``Evaluator`` over Ray actors of one CPU each.

    Args:
        address: a Ray cluster; None or empty starts Ray on this machine, and stops it on ``close``. A Ray that runs in
            this process already is used as it is and left running.
        num_workers: as many run as CPUs are there; where there are fewer, more start when nodes join.
        materialise: import path ``"module:function"``, imported by the workers.
        plugins: modules that register operations, imported by workers and judges.
        tell: is given a line where the person ought to know something: a node that is refused, fewer workers than wanted.

    Raises:
        EvaluatorFailed: there is no Ray, no CPU, or no node that computes as this machine does.
    """

    def __init__(
        self,
        benchmark: Task,
        materialise: str,
        *,
        num_workers: int = 1,
        address: str | None = None,
        plugins: Sequence[str] = (),
        limits: Limits | None = None,
        plans: PlanTable = DEFAULT_PLANS,
        object_store_bytes: int = OBJECT_STORE_BYTES,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        _check_plugins(plugins)
        settings = WorkerSettings(materialise, tuple(plugins), limits or Limits(), plans)
        self._objects: ObjectTable[bytes] = ObjectTable()
        timeout_s = functools.partial(unit_timeout_s, limits=settings.limits)
        self._dispatch: Dispatch[Member, bytes] = Dispatch(self._objects, benchmark, timeout_s)
        self._places: dict[bytes, Place] = {}
        self._running: dict[Any, tuple[Try[Member], Any]] = {}  # rows ref -> (run, result ref)
        self._doubted: set[Member] = set()
        self._cluster = RayCluster(address, num_workers, object_store_bytes, tell)
        try:
            self._fleet = self._new_fleet(benchmark, settings, num_workers, tell)
            while self._fleet.level is None:
                self._round(ROUND_S)
        except BaseException:
            self.close()
            raise

    @property
    def sandbox_level(self) -> str:
        assert self._fleet.level is not None
        return self._fleet.level

    @property
    def worker_pids(self) -> list[int]:
        """Returns the process ids of the workers that are up, each on its own node."""
        return [member.pid for member in self._fleet.members if member.is_ready]

    def put(self, digest: bytes, data: bytes) -> None:
        self._objects.put(digest, data)

    def fetch(self, digest: bytes) -> bytes:
        return self._objects[digest]

    def retain(self, digests: Iterable[bytes]) -> None:
        self._objects.retain(digests)
        self._places = {digest: place for digest, place in self._places.items() if digest in self._objects}

    def submit(self, unit: WorkUnit) -> None:
        self._dispatch.submit(unit)
        self._send_units()

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._dispatch.is_working and not self._dispatch.has_finished:
            remaining = ROUND_S if deadline is None else min(max(deadline - time.monotonic(), 0.0), ROUND_S)
            self._round(remaining)
            if deadline is not None and time.monotonic() >= deadline:
                break
        return self._dispatch.take_finished()

    def close(self) -> None:
        self._running.clear()
        self._dispatch.clear()
        self._places.clear()
        if hasattr(self, "_fleet"):
            self._fleet.close()
        self._cluster.close()

    def _new_fleet(
        self, benchmark: Task, settings: WorkerSettings, num_workers: int, tell: Callable[[str], None]
    ) -> Fleet:
        """Returns the fleet; settings and benchmark lie in the object store once for all workers."""
        import ray

        value, arrays = benchmark.to_parts()
        shared = ray.put((settings.to_value(), value, arrays))
        here = fingerprint_here(settings.materialise, settings.plugins, settings.plans)
        return Fleet(self._cluster, shared, here.fields, num_workers, tell)

    def _round(self, timeout_s: float) -> None:
        """Waits for one answer at most so long, takes all there are, and looks after the fleet."""
        import ray

        self._cluster.check_own_node()
        refs = [*self._running, *self._fleet.waited_for]
        if refs:
            ray.wait(refs, num_returns=1, timeout=timeout_s)
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref in ready:
                self._take(ref)
        else:
            time.sleep(min(timeout_s, 0.1))
        busy = {run.seat for run, _ in self._running.values()} | self._doubted
        for member, reason in self._fleet.tend(time.monotonic(), busy):
            self._lost(member, reason)
        for member in self._dispatch.overdue(time.monotonic()):
            self._lost(member, "the worker gave no answer in time")
        self._send_units()

    def _send_units(self) -> None:
        while (run := self._dispatch.assign(time.monotonic())) is not None:
            places = {digest: self._place(digest) for digest in self._objects.needs(run.unit)}
            result, rows = run.seat.actor.evaluate.options(num_returns=2).remote(run.unit, places)
            self._running[rows] = (run, result)

    def _place(self, digest: bytes) -> Place:
        """Returns where workers find an object; lays it down on this machine's node where it lies on no living one."""
        import ray

        if digest not in self._places:
            data = self._objects[digest]
            ref = ray.put(np.frombuffer(data, dtype=np.uint8))
            self._places[digest] = Place(ref, 0, len(data), self._cluster.own_node)
        return self._places[digest]

    def _take(self, ref: Any) -> None:
        if ref in self._running:
            self._take_result(ref)
        elif ref in self._fleet.waited_for:
            member, reason = self._fleet.answered(ref, time.monotonic())
            if reason:
                self._lost(member, reason)
            elif self._dispatch.run_of(member) is None:
                self._seat(member)

    def _take_result(self, rows: Any) -> None:
        import ray
        from ray.exceptions import RayActorError, RayError, RayTaskError

        run, result = self._running.pop(rows)
        try:
            answer, data = ray.get([result, rows])
        except RayActorError:
            self._lost(run.seat, "the worker died")
        except RayTaskError as error:
            raise EvaluatorFailed(f"a worker failed: {error}") from error
        except RayError as error:  # the rows were lost with their node before they arrived here
            self._forget_places(run.seat.node)
            self._dispatch.give_up(run.number, verdicts.one_line(str(error)))
        else:
            if isinstance(answer, Failed):  # perhaps a parent's place that does not answer
                self._forget_places(*(place.node for place in self._places_of(run.unit)))
                self._dispatch.give_up(run.number, answer.reason, answer.kind)
            else:
                self._finish(run, answer, rows, data)

    def _finish(self, run: Try[Member], result: UnitResult, ref: Any, data: npt.NDArray[np.uint8]) -> None:
        *incidents, lengths = result.incidents
        rows, start = {}, 0
        if run.unit.keep:
            digests = dict.fromkeys(digest for digest in result.digests if digest is not None)
            for digest, length in zip(digests, lengths["lengths"], strict=True):
                rows[digest] = data[start : start + length].tobytes()
                self._places.setdefault(digest, Place(ref, start, start + length, run.seat.node))
                start += length
        self._dispatch.finish(run.number, replace(result, incidents=incidents), rows)

    def _seat(self, member: Member) -> None:
        """Gives a member its seat, the first or, after a doubt, the same again."""
        self._doubted.discard(member)
        if not self._dispatch.is_seated(member):
            self._dispatch.open(member, float("inf"))
            self._dispatch.ready(member)

    def _lost(self, member: Member, reason: str) -> None:
        """Ends a member: its unit is tried again, what lay on its node is laid down anew, and its neighbours are doubted.

        A node takes its workers with it one by one: an idle neighbour gets no unit before it has given a sign of life, so
        that the death of one node never uses up the tries of one unit.
        """
        self._fleet.drop(member)
        self._doubted.discard(member)
        self._running = {ref: pair for ref, pair in self._running.items() if pair[0].seat is not member}
        self._dispatch.lose(member, reason)
        self._forget_places(member.node)
        for other in self._fleet.members:
            if other.node == member.node and other.is_ready and self._dispatch.run_of(other) is None:
                self._dispatch.lose(other, "")
                self._doubted.add(other)
                self._fleet.ask(other, time.monotonic())

    def _places_of(self, unit: WorkUnit) -> list[Place]:
        return [self._places[digest] for digest in self._objects.needs(unit) if digest in self._places]

    def _forget_places(self, *nodes: str) -> None:
        self._places = {digest: place for digest, place in self._places.items() if place.node not in nodes}


def _check_plugins(plugins: Iterable[str]) -> None:
    """Refuses plugins that this machine lacks, before anything is started."""
    for name in plugins:
        if source_digest(name) == ABSENT:
            raise EvaluatorFailed(f"plugin module {name!r} cannot be found")
