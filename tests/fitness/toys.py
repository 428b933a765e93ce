"""A small benchmark, two small species and the units of them that the tests of judging use."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fitness.benchmarks.benchmark import Benchmark
from fitness.work.work_unit import CANDIDATE, NO_PARENT, Judging, WorkUnit
from population.graphs.graph import Channel, Node, OpGraph

MATERIALISE = "tests.fitness.toy_materialise:materialise"
PLUGINS = ("tests.plugins.hostile",)


@functools.cache
def toy_benchmark() -> Benchmark:
    """Returns 300 rows of four numbers in three classes."""
    generator = np.random.Generator(np.random.Philox(7))
    rows = generator.normal(size=(300, 4)).astype(np.float32)
    return Benchmark.from_arrays({"x": rows}, (rows[:, 0] > 0).astype(np.int64) + (rows[:, 1] > 0.5), name="toy")


@functools.cache
def toy_graph(num_outputs: int = 3) -> OpGraph:
    """Returns 4 -> hidden (at most 16) -> classes."""
    return _build(num_outputs, ())


@functools.cache
def hostile_graph() -> OpGraph:
    """Returns the same with an operation at its end that does what the parameter ``hostile.trigger`` says."""
    import tests.plugins.hostile as _registers  # noqa: F401

    return _build(3, (Node("hostile", "hostile", ("out",)),))


def _build(num_outputs: int, end: tuple[Node, ...]) -> OpGraph:
    nodes = (
        Node("hidden", "linear", ("x",), attributes={"out": "hidden"}),
        Node("active", "relu", ("hidden",)),
        Node("out", "linear", ("active",), attributes={"out": num_outputs}),
        *end,
    )
    return OpGraph.build([Channel("x", (4,), "float32")], nodes, [("logits", nodes[-1].name)], {"hidden": 16})


def unit_of(
    graph: OpGraph,
    *,
    seeds: Iterable[int],
    parents: Sequence[bytes] = (),
    inputs: Sequence[bytes] = (),
    operator: str = "init@1",
    operators: Sequence[str] | None = None,
    settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    tiers: Mapping[str, Mapping[str, int]] | None = None,
) -> WorkUnit:
    """Returns a unit with a candidate for each seed; candidate i descends from parent i, as far as there are parents."""
    seeds = list(seeds)
    candidates = np.zeros(len(seeds), dtype=CANDIDATE)
    candidates["seed"], candidates["parents"], candidates["inputs"] = seeds, NO_PARENT, 2 ** len(inputs) - 1
    for row in range(min(len(parents), len(seeds))):
        candidates["parents"][row, 0] = row
    texts = [settings or {}] if settings is None or isinstance(settings, Mapping) else settings
    return WorkUnit(
        unit_id=0,
        graph=graph.to_value(),
        parents=tuple(parents),
        inputs=tuple(inputs),
        operators=tuple(operators or [operator]),
        settings=tuple(json.dumps(text) for text in texts),
        candidates=candidates,
        judging=Judging("validation", tiers or {"ultimate": {}}),
    )


def no_objects(digest: bytes) -> bytes:
    """Holds nothing."""
    raise KeyError(digest)
