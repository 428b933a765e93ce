"""The evaluator over Ray actors: on this machine or on a cluster. The only module that knows Ray.

Ray is treated as an unreliable executor of pure functions: a unit may run more than once, its result is taken once. A
unit's rows stay in the object store where they were made; the driver owns the references and hands them to whoever needs
a parent, so that weights travel from worker to worker.

Nouns: a *place* is where an object lies: a reference and the bytes' range inside what it refers to.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness import verdict
from fitness.benchmark import Benchmark
from fitness.child_process import KEPT_VARIABLES, module_path
from fitness.dispatch import Dispatch, Run
from fitness.evaluator import UnitResult, WorkUnit
from fitness.judge import Limits, SubprocessJudge
from fitness.objects import ObjectTable, kept_rows, missing_object
from fitness.plan import DEFAULT_PLANS, PlanTable
from fitness.worker import Worker, WorkerSettings, import_materialise, import_plugins
from population.errors import EvaluatorFailed, InfrastructureError

OBJECT_STORE_BYTES = 256 << 20
CACHE_BYTES = 256 << 20
START_TIMEOUT_S = 180.0
#: Ray reads these when it is imported: a token on its ports, no usage reports, no notes on the console.
LOCAL_VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class _Place:
    """Where an object's bytes lie: ``start`` to ``stop`` of the byte array behind ``ref``."""

    ref: Any
    start: int
    stop: int


class WorkerActor:
    """A worker inside a Ray actor. Not thread-safe; Ray calls it one call at a time."""

    def __init__(self, settings: Mapping[str, Any], benchmark: Mapping[str, Any], arrays: Sequence[bytes]) -> None:
        found = WorkerSettings.from_value(settings)
        import_plugins(found.plugins)
        judge = SubprocessJudge(plugins=found.plugins, limits=found.limits)
        data = Benchmark.from_parts(benchmark, arrays)
        self._worker = Worker(data, import_materialise(found.materialise), judge, found.plans)
        self._cache = _ByteCache(CACHE_BYTES)

    def ready(self) -> tuple[str, int]:
        """Returns the isolation level and the process id."""
        return self._worker.sandbox_level, os.getpid()

    def evaluate(
        self, unit: WorkUnit, places: Mapping[bytes, _Place]
    ) -> tuple[UnitResult | str, npt.NDArray[np.uint8]]:
        """Returns the result, or why the infrastructure failed, and the kept rows' bytes one after the other."""

        def read(digest: bytes) -> bytes:
            held = self._cache.get(digest)
            if held is None:
                if digest not in places:
                    raise missing_object(digest)
                held = _read_place(places[digest])
                self._cache.put(digest, held)
            return held

        try:
            result, rows = self._worker.evaluate(unit, read)
        except InfrastructureError as error:
            return verdict.one_line(str(error)), np.empty(0, dtype=np.uint8)
        kept = dict(kept_rows(unit, result, rows))
        for digest, row in kept.items():
            self._cache.put(digest, row)
        lengths = {"kind": "rows", "lengths": [len(row) for row in kept.values()]}
        return replace(result, incidents=[*result.incidents, lengths]), np.frombuffer(
            b"".join(kept.values()), dtype=np.uint8
        )

    def close(self) -> None:
        """Ends the judge."""
        self._worker.close()


class RayEvaluator:
    """An ``Evaluator`` over Ray actors of one CPU each.

    Args:
        address: a Ray cluster; None or empty starts Ray on this machine, and stops it on ``close``. A Ray that runs in
            this process already is used as it is and left running.
        materialise: import path ``"module:function"``, imported by the workers.
        plugins: modules that register operations, imported by workers and judges.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        materialise: str,
        *,
        num_workers: int = 1,
        address: str | None = None,
        plugins: Sequence[str] = (),
        limits: Limits | None = None,
        plans: PlanTable = DEFAULT_PLANS,
        object_store_bytes: int = OBJECT_STORE_BYTES,
    ) -> None:
        self._benchmark = benchmark
        self._objects: ObjectTable[_Place] = ObjectTable()
        self._dispatch: Dispatch[Any, _Place] = Dispatch(self._objects, benchmark)
        self._running: dict[Any, tuple[Run[Any], Any]] = {}  # result ref -> (run, rows ref)
        self._actors: list[Any] = []
        self._is_ours = _start_ray(address, num_workers, object_store_bytes)
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        try:
            _check_cpus(num_workers)
            settings = WorkerSettings(materialise, tuple(plugins), limits or Limits(), plans)
            self._new_actor = self._actor_maker(settings, _local_variables(address))
            self._actors = [self._new_actor() for _ in range(num_workers)]
            answers = ray.get([actor.ready.remote() for actor in self._actors], timeout=START_TIMEOUT_S)
        except GetTimeoutError as error:
            self.close()
            raise EvaluatorFailed(
                f"no {num_workers} CPUs of the Ray cluster came free in {START_TIMEOUT_S} s"
            ) from error
        except RayError as error:
            self.close()
            raise EvaluatorFailed(f"Ray workers do not start: {verdict.one_line(str(error)[-600:], 600)}") from error
        except EvaluatorFailed:
            self.close()
            raise
        self._level = str(answers[0][0])
        for actor in self._actors:
            self._join(actor)

    @property
    def sandbox_level(self) -> str:
        return self._level

    @property
    def worker_pids(self) -> list[int]:
        """Returns the process ids of the workers, which must be idle."""
        import ray

        return [pid for _, pid in ray.get([actor.ready.remote() for actor in self._actors], timeout=START_TIMEOUT_S)]

    def put(self, digest: bytes, data: bytes) -> None:
        import ray

        if digest not in self._objects:
            self._objects.put(digest, _Place(ray.put(np.frombuffer(data, dtype=np.uint8)), 0, len(data)))

    def fetch(self, digest: bytes) -> bytes:
        from ray.exceptions import RayError

        place = self._objects[digest]
        try:
            return _read_place(place)
        except RayError as error:
            raise EvaluatorFailed(f"object {digest.hex()[:16]} is lost: {verdict.one_line(str(error))}") from error

    def retain(self, digests: Iterable[bytes]) -> None:
        self._objects.retain(digests)

    def submit(self, unit: WorkUnit) -> None:
        self._dispatch.submit(unit)
        self._send_units()

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        import ray

        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._running and not self._dispatch.has_finished:
            remaining = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=remaining)
            if not ready:
                break
            for ref in ready:
                self._take(ref)
            self._send_units()
        return self._dispatch.take_finished()

    def close(self) -> None:
        import ray
        from ray.exceptions import RayError

        self._running.clear()
        self._dispatch.clear()
        for actor in self._actors:
            with contextlib.suppress(RayError):
                ray.kill(actor)
        self._actors = []
        if self._is_ours:
            self._is_ours = False
            ray.shutdown()

    def _actor_maker(self, settings: WorkerSettings, variables: dict[str, str]) -> Callable[[], Any]:
        """Returns what makes an actor; settings and benchmark lie in the object store once for all of them."""
        import ray

        value, arrays = self._benchmark.to_parts()
        shared = ray.put((settings.to_value(), value, arrays))
        options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        if variables:
            options["runtime_env"] = {"env_vars": variables}
        remote = ray.remote(_SharedStart).options(**options)
        return lambda: remote.remote(shared)

    def _replace(self, actor: Any) -> None:
        """Puts a new actor in a dead one's place: a call to it waits until it runs, one to a restarting actor would fail."""
        import ray
        from ray.exceptions import RayError

        with contextlib.suppress(RayError):
            ray.kill(actor)
        self._actors[self._actors.index(actor)] = new = self._new_actor()
        self._join(new)

    def _join(self, actor: Any) -> None:
        """Gives an actor its seat; calls to one that still starts wait until it runs."""
        self._dispatch.open(actor, math.inf)
        self._dispatch.ready(actor)

    def _send_units(self) -> None:
        while (run := self._dispatch.assign(time.monotonic())) is not None:
            places = {digest: self._objects[digest] for digest in self._objects.needs(run.unit)}
            result, rows = run.seat.evaluate.options(num_returns=2).remote(run.unit, places)
            self._running[result] = (run, rows)

    def _take(self, ref: Any) -> None:
        import ray
        from ray.exceptions import RayActorError, RayError, RayTaskError

        run, rows = self._running.pop(ref)
        try:
            answer = ray.get(ref)
        except RayActorError:
            self._dispatch.lose(run.seat, "the worker died")
            self._replace(run.seat)
            return
        except RayTaskError as error:
            raise EvaluatorFailed(f"a worker failed: {error}") from error
        except RayError as error:  # an object was lost with its machine
            self._dispatch.give_up(run.number, verdict.one_line(str(error)))
            return
        if isinstance(answer, str):
            self._dispatch.give_up(run.number, answer)
        else:
            self._finish(run, answer, rows)

    def _finish(self, run: Run[Any], result: UnitResult, rows: Any) -> None:
        *incidents, lengths = result.incidents
        places, start = {}, 0
        if run.unit.keep:
            digests = dict.fromkeys(digest for digest in result.digests if digest is not None)
            for digest, length in zip(digests, lengths["lengths"], strict=True):
                places[digest] = _Place(rows, start, start + length)
                start += length
        self._dispatch.finish(run.number, replace(result, incidents=incidents), places)


class _SharedStart(WorkerActor):
    """Takes its arguments from one object, which all workers of a machine read from its memory once."""

    def __init__(self, shared: tuple[Mapping[str, Any], Mapping[str, Any], Sequence[bytes]]) -> None:
        super().__init__(*shared)


class _ByteCache:
    """Keeps the bytes used last, up to a total."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: bytes) -> bytes | None:
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: bytes, data: bytes) -> None:
        if key in self._held:
            return
        self._held[key] = data
        self._size += len(data)
        while self._size > self._max_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._size -= len(dropped)


def _read_place(place: _Place) -> bytes:
    import ray

    array: npt.NDArray[np.uint8] = ray.get(place.ref)
    return array[place.start : place.stop].tobytes()


def _start_ray(address: str | None, num_workers: int, object_store_bytes: int) -> bool:
    """Starts or joins Ray; returns whether it is ours to stop."""
    if not address:
        _guard_local_ports()
    import ray
    from ray.exceptions import RayError

    if ray.is_initialized():
        return False
    local = {
        "num_cpus": num_workers,
        "include_dashboard": False,
        "object_store_memory": object_store_bytes,
        "_node_ip_address": "127.0.0.1",
    }
    options: dict[str, Any] = {} if address else local
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (RayError, ConnectionError, RuntimeError, OSError, ValueError) as error:
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        raise EvaluatorFailed(f"{where} cannot be used: {error}; --address local works without Ray") from error
    return True


def _check_cpus(num_workers: int) -> None:
    import ray

    num_cpus = int(ray.cluster_resources().get("CPU", 0))
    if num_cpus < num_workers:
        raise EvaluatorFailed(
            f"{num_workers} workers need a CPU each, but Ray has {num_cpus} CPUs: use --workers {num_cpus}"
        )


def _guard_local_ports() -> None:
    """Asks for a token on Ray's ports, made for this process alone, unless the user has chosen otherwise or Ray is loaded.

    Ray reads the mode once, when it is imported, and its processes inherit it, so the variables stay.
    """
    if "ray" in sys.modules or "RAY_AUTH_MODE" in os.environ:
        return
    os.environ.update(LOCAL_VARIABLES)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _local_variables(address: str | None) -> dict[str, str]:
    """Returns what a worker on this machine needs to import what we import, and to compute with one thread."""
    if address:
        return {}
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": module_path(), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
