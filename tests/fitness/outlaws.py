"""Stacks of candidates that commit a crime of tests/plugins/outlaw, the benchmark they face, and how they are judged."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from fitness.benchmarks.benchmark import Benchmark
from fitness.judges.judge import Judge, Limits
from fitness.judges.tile_plan import KernelPlan, PlanTable
from fitness.scoring.judge_rows import judge_stack
from fitness.scoring.score_sheet import ScoreSheet
from fitness.work.work_unit import Judging
from population.graphs.graph import Channel, Node, OpGraph
from population.stacks.stack import Stack
from tests.fitness.toy_materialise import materialise
from tests.fitness.toys import no_objects, unit_of
from tests.plugins import outlaw

PLUGINS = ("tests.plugins.outlaw",)
JUDGING = Judging("validation", {"ultimate": {}})
LIMITS = Limits(cpu_s=2, wall_s=0.8, memory_bytes=256 << 20)
TILE = 4
PLANS = PlanTable((), KernelPlan(TILE, 64))


@functools.cache
def noise_benchmark() -> Benchmark:
    """Returns 400 rows of noise in three classes, which nobody can tell; the validation split's first labels are known."""
    generator = np.random.Generator(np.random.Philox(11))
    rows = generator.normal(size=(400, 4)).astype(np.float32)
    labels = generator.integers(0, 3, size=400)
    split = Benchmark.from_arrays({"x": rows}, labels, name="noise").rows("validation")
    labels[np.asarray(split)[:24]] = np.arange(24) * 7 % 3
    return Benchmark.from_arrays({"x": rows}, labels, name="noise")


@functools.cache
def outlaw_graph() -> OpGraph:
    """Returns 4 -> hidden -> classes, and the operation at its end that does what ``outlaw.trigger`` says."""
    nodes = (
        Node("hidden", "linear", ("x",), attributes={"out": "hidden"}),
        Node("active", "relu", ("hidden",)),
        Node("out", "linear", ("active",), attributes={"out": 3}),
        Node("outlaw", "outlaw", ("out",)),
    )
    return OpGraph.build([Channel("x", (4,), "float32")], nodes, [("logits", "outlaw")], {"hidden": 16})


def candidates(crimes: Sequence[str], first_seed: int = 0) -> Stack:
    """Returns a candidate for each crime, "" for the innocent; seeds count up from ``first_seed``."""
    graph = outlaw_graph()
    seeds = range(first_seed, first_seed + len(crimes))
    stack = materialise(unit_of(graph, seeds=seeds), no_objects, noise_benchmark())
    triggers = [outlaw.number_of(crime) if crime else 0.0 for crime in crimes]
    return stack.replace(tensors={**stack.tensors, "outlaw.trigger": torch.tensor(triggers)[:, None]})


def judged(stack: Stack, judge: Judge) -> ScoreSheet:
    """Judges candidates on the noise benchmark in tiles of ``TILE``."""
    return judge_stack(stack, noise_benchmark(), judge, JUDGING, PLANS)


def bits_of(found: ScoreSheet, row: int) -> bytes:
    """Everything that a row was given, as bytes."""
    return b"".join(part[row].tobytes() for part in (found.scores, found.skills, found.merits))
