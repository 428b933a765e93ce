"""A worker inside a Ray actor, and where the objects lie that it reads.

Nouns: a *place* is where an object lies: a reference and the bytes' range inside what it refers to.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.from_parts import task_from_parts
from fitness.cluster.node_fingerprint import Fingerprint, fingerprint_here
from fitness.evaluators.dispatch import UNREAD, kind_of
from fitness.evaluators.worker import Worker, WorkerSettings, make_worker
from fitness.processes import verdicts
from fitness.work.object_table import kept_rows, missing_object
from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed, InfrastructureError

CACHE_BYTES = 256 << 20
#: After so long an object counts as lost; the campaign's process has its bytes and lays them down anew.
OBJECT_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Place:
    """Where an object's bytes lie: ``start`` to ``stop`` of the byte array behind ``ref``, made on ``node``."""

    ref: Any
    start: int
    stop: int
    node: str


@dataclass(frozen=True)
class Failed:
    """How the infrastructure failed: a kind of ``fitness.evaluators.dispatch``, and why."""

    kind: str
    reason: str


class _Unread(EvaluatorFailed):
    """An object did not reach the worker, so the unit did not begin."""


class WorkerActor:
    """A worker inside a Ray actor: one unit at a time; ``pulse`` answers beside it.

    Args:
        shared: settings and the benchmark's parts, one object that all workers of a machine read from its memory.
    """

    def __init__(self, shared: tuple[Mapping[str, Any], Mapping[str, Any], Sequence[bytes]]) -> None:
        self._shared = shared
        self._cache = _ByteCache(CACHE_BYTES)
        self._worker: Worker | None = None

    def ready(self, expected: Mapping[str, str]) -> dict[str, Any]:
        """Returns process id and isolation level, or in which lines this machine differs from the campaign's."""
        value, benchmark, arrays = self._shared
        settings = WorkerSettings.from_value(value)
        here = fingerprint_here(settings.materialise, settings.plugins, settings.plans)
        differences = Fingerprint(expected).differences(here.fields)
        if differences:
            return {"differences": differences}
        self._worker = make_worker(settings, task_from_parts(benchmark, arrays))
        return {"differences": [], "pid": os.getpid(), "level": self._worker.sandbox_level}

    def pulse(self) -> None:
        """Answers: the process runs."""
        if self._worker is not None:
            self._worker.reap_dead()

    def evaluate(
        self, unit: WorkUnit, places: Mapping[bytes, Place]
    ) -> tuple[UnitResult | Failed, npt.NDArray[np.uint8]]:
        """Returns the result, or how the infrastructure failed, and the kept rows' bytes one after the other."""
        assert self._worker is not None

        def read(digest: bytes) -> bytes:
            held = self._cache.get(digest)
            if held is None:
                if digest not in places:
                    raise missing_object(digest)
                held = _read_place(digest, places[digest])
                self._cache.put(digest, held)
            return held

        try:
            result, rows = self._worker.evaluate(unit, read)
        except InfrastructureError as error:
            kind = UNREAD if isinstance(error, _Unread) else kind_of(error)
            return Failed(kind, verdicts.one_line(str(error))), np.empty(0, dtype=np.uint8)
        kept = dict(kept_rows(unit, result, rows))
        for digest, row in kept.items():
            self._cache.put(digest, row)
        lengths = {"kind": "rows", "lengths": [len(row) for row in kept.values()]}
        return replace(result, incidents=[*result.incidents, lengths]), np.frombuffer(
            b"".join(kept.values()), dtype=np.uint8
        )


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


def _read_place(digest: bytes, place: Place) -> bytes:
    import ray
    from ray.exceptions import RayError

    try:
        array: npt.NDArray[np.uint8] = ray.get(place.ref, timeout=OBJECT_PATIENCE_S)
    except RayError as error:
        reason = verdicts.one_line(str(error), 120)
        raise _Unread(f"object {digest.hex()[:16]} did not reach the worker: {reason}") from error
    return array[place.start : place.stop].tobytes()
