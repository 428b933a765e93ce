"""How work is cut into tiles: so many candidates by so many samples.

The plan of a species follows from its graph alone, by a table; so it is known for species not yet born, and is the same on
every machine. Every tile is computed at its full size (ragged ends are padded), so that no bit of a result depends on how
full a tile was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from population.errors import ConfigError
from population.graphs.graph import OpGraph
from population.operations import dimensions as dims

SAMPLE_STEP = 16


@dataclass(frozen=True)
class KernelPlan:
    """The tile of one species: candidates by samples; samples are a multiple of 16."""

    candidates: int
    samples: int

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.samples < SAMPLE_STEP or self.samples % SAMPLE_STEP:
            raise ConfigError(
                f"a tile needs at least one candidate and a multiple of {SAMPLE_STEP} samples, "
                f"got {self.candidates} by {self.samples}"
            )

    def to_value(self) -> dict[str, int]:
        """Returns the plan as a plain value, for the lineage."""
        return {"candidates": self.candidates, "samples": self.samples}

    def padded(self, num_samples: int) -> int:
        """Returns the samples that are computed for so many rows: the next multiple of the tile's samples."""
        return -(-num_samples // self.samples) * self.samples


@dataclass(frozen=True)
class PlanRow:
    """A line of the table: the plan for graphs up to these sizes a sample, of values and of FLOPs at the widest."""

    max_values: int
    max_flops: int
    plan: KernelPlan


@dataclass(frozen=True)
class PlanTable:
    """The rule that gives every species its tile: the first row that is large enough, else ``largest``."""

    rows: tuple[PlanRow, ...]
    largest: KernelPlan

    def plan_for(self, graph: OpGraph) -> KernelPlan:
        """Returns the tile of a species, from its graph at full width."""
        values, flops = num_values(graph), graph.flops(graph.symbols)
        for row in self.rows:
            if values <= row.max_values and flops <= row.max_flops:
                return row.plan
        return self.largest

    def to_value(self) -> dict[str, Any]:
        """Returns the table as a plain value, for the lineage and the wire."""
        rows = [[row.max_values, row.max_flops, row.plan.candidates, row.plan.samples] for row in self.rows]
        return {"version": 1, "rows": rows, "largest": self.largest.to_value()}

    @staticmethod
    def from_value(value: Mapping[str, Any]) -> PlanTable:
        """Returns the table of ``to_value``."""
        rows: Sequence[Sequence[int]] = value["rows"]
        return PlanTable(
            tuple(PlanRow(values, flops, KernelPlan(num, samples)) for values, flops, num, samples in rows),
            KernelPlan(**value["largest"]),
        )


#: Ships with the project; measured with the stacked kernels on one core of an x86-64 machine.
DEFAULT_PLANS = PlanTable(
    rows=(
        PlanRow(max_values=512, max_flops=40_000, plan=KernelPlan(128, 128)),
        PlanRow(max_values=2_048, max_flops=250_000, plan=KernelPlan(16, 128)),
        PlanRow(max_values=16_384, max_flops=4_000_000, plan=KernelPlan(8, 128)),
        PlanRow(max_values=131_072, max_flops=64_000_000, plan=KernelPlan(4, 64)),
    ),
    largest=KernelPlan(1, 16),
)


#: A policy answers few lanes, thousands of times: what is padded costs at every step.
POLICY_CANDIDATES = 32


def policy_plan(plan: KernelPlan) -> KernelPlan:
    """Returns the tile that a species of this plan plays episodes in."""
    return KernelPlan(min(plan.candidates, POLICY_CANDIDATES), SAMPLE_STEP)


def num_values(graph: OpGraph) -> int:
    """Returns how many numbers all nodes and inputs of a graph hold for one sample, at full width."""
    return sum(math.prod(dims.sizes(shape, graph.symbols)) for shape in graph.value_shapes.values())
