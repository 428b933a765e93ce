"""Campaigns of very many individuals: rows are made in earnest, judging them costs nothing.

A score follows from the weights digest, so a resumed campaign that makes a row again finds the bits that were judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from blake3 import blake3

from evolve.config.campaign import CampaignConfig, check_config
from evolve.recipes.materialise import materialise
from fitness.benchmarks.benchmark import Benchmark
from fitness.work.object_table import ObjectTable
from fitness.work.work_unit import UnitResult, WorkUnit
from population.stacks.row_format import encode_row
from tests.evolve import small


def config_of(kind: str, individuals: int, population: int = 1024) -> CampaignConfig:
    """Returns a campaign of so many individuals, of one linear layer each, which ends when all have been judged."""
    graph = {
        "inputs": {"input": {"shape": [6], "dtype": "float32"}},
        "nodes": [{"name": "head", "op": "linear", "inputs": ["input"], "out": 3}],
        "outputs": {"logits": "head"},
    }
    steady = {"settings": {"batch": max(1, population // 4), "window": 4}} if kind == "steady" else {}
    values = small.values(
        graph=graph,
        widths={},
        objectives=["accuracy"],
        operators={} if kind == "openai_es" else {"gaussian": {}, "uniform": {}, "mean": {"weight": 0.25}},
        strategy={"kind": kind, "population": population, **steady},
        tiers=None,
        keyframe=20,
        stop={"evaluations": individuals},
    )
    return check_config(values)


class QuickEvaluator:
    """Makes children while ``submit`` waits; their scores are drawn from their digests."""

    sandbox_level = "none"

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark
        self._objects: ObjectTable[bytes] = ObjectTable()
        self._done: deque[UnitResult] = deque()
        self.submitted = 0

    def put(self, digest: bytes, data: bytes) -> None:
        self._objects.put(digest, data)

    def fetch(self, digest: bytes) -> bytes:
        return self._objects[digest]

    def retain(self, digests: Iterable[bytes]) -> None:
        waiting = (digest for result in self._done for digest in result.digests if digest is not None)
        self._objects.retain([*digests, *waiting])

    def submit(self, unit: WorkUnit) -> None:
        self.submitted += 1
        made = materialise(unit, self._objects.__getitem__, self._benchmark)
        rows = [encode_row(made, row) for row in range(len(unit.candidates))]
        digests = [blake3(row).digest() for row in rows]
        if unit.keep:
            for digest, row in zip(digests, rows, strict=True):
                self._objects.put(digest, row)
        shape = (len(rows), len(unit.judging.tiers))
        drawn = np.frombuffer(b"".join(digests), dtype="<u4").reshape(len(rows), 8) / 2.0**32
        objectives, skills = len(self._benchmark.objectives), len(self._benchmark.skills)
        scores = np.repeat(drawn[:, None, :objectives], shape[1], axis=1)
        scores[:, :, -1] = 100.0
        self._done.append(
            UnitResult(
                unit_id=unit.unit_id,
                digests=digests,
                verdicts=["ok"] * len(rows),
                details=[""] * len(rows),
                scores=scores,
                skills=np.repeat(drawn[:, None, :skills], shape[1], axis=1),
                flops=np.full(shape, 100, dtype=np.int64),
            )
        )

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        found = list(self._done)
        self._done.clear()
        return found

    def close(self) -> None:
        self._objects.clear()
