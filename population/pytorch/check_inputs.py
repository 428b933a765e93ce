"""Seeded inputs to compare models on: normal numbers, and ids that every table knows where a channel holds whole ones.

Shapes: N samples.

Nouns: *check* (how many inputs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from population.graphs.graph import OpGraph
from population.graphs.nodes import Channel, full_attributes
from population.operations import dimensions as dims
from population.randomness import integers, normals
from population.stacks.dtypes import DTYPES
from population.stacks.footprint import sample_bytes, sample_work, samples_at_once

#: So many inputs decide whether two models are the same.
NUM_INPUTS: Final = 1000
#: What the whole check, one sample of it, and its outputs may take: see `population.stacks.footprint`.
WORK: Final = 50_000_000_000
MOST_SAMPLE_WORK: Final = 400_000_000_000
MOST_SAMPLE_BYTES: Final = 512 << 20
OUTPUT_BYTES: Final = 32 << 20
#: Which attribute says how many ids there are.
_COUNTS: Final = {"embedding": "num_embeddings", "one_hot": "sizes"}
#: Whole numbers stay below this where nothing says how many there are.
_FEW: Final = 10


@dataclass(frozen=True)
class Comparison:
    """How many seeded inputs two models are compared on, and how many of them are computed together."""

    num_inputs: int
    at_once: int

    def pieces(self, graph: OpGraph, seed: int = 0) -> Iterator[dict[str, torch.Tensor]]:
        """Yields the inputs, ``at_once`` at a time."""
        for first in range(0, self.num_inputs, self.at_once):
            yield seeded_inputs(graph, min(self.at_once, self.num_inputs - first), seed, first)


def check_of(graph: OpGraph) -> Comparison:
    """The check of a graph: ``NUM_INPUTS`` where that is cheap, fewer where samples are large or long to compute, none where
    a single one would take more memory or time than checking may.
    """
    work = sample_work(graph)
    if sample_bytes(graph) > MOST_SAMPLE_BYTES or work > MOST_SAMPLE_WORK:
        return Comparison(0, 1)
    shapes = [dims.sizes(graph.value_shapes[node], graph.symbols) for _, node in graph.outputs]
    output_bytes = max(1, sum(4 * math.prod(shape) for shape in shapes))
    count = max(1, min(NUM_INPUTS, WORK // work, OUTPUT_BYTES // output_bytes))
    return Comparison(count, samples_at_once(graph, count))


def seeded_inputs(
    graph: OpGraph, num_samples: int = NUM_INPUTS, seed: int = 0, first: int = 0
) -> dict[str, torch.Tensor]:
    """Inputs for every channel of a graph, ``[N, *shape]`` in the channel's dtype, from the sample ``first`` on: the same for
    the same seed.

    Randomness: one stream of the seed for each channel, in alphabetical order.
    """
    found = {}
    for stream, channel in enumerate(graph.inputs):
        size = math.prod(channel.shape)
        count, begin = num_samples * size, first * size
        if channel.dtype.startswith(("float", "bfloat")):
            drawn = torch.from_numpy(normals(seed, stream, count, begin).copy())
        else:
            drawn = torch.from_numpy(integers(seed, stream, count, 2**16, begin))
        shaped = drawn.reshape(num_samples, *channel.shape)
        if not channel.dtype.startswith(("float", "bfloat")):
            shaped = shaped % torch.from_numpy(_bounds(graph, channel))
        found[channel.name] = shaped.to(DTYPES[channel.dtype])
    return found


def _bounds(graph: OpGraph, channel: Channel) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Below which numbers an integer channel stays, one for each column or for all."""
    readers = [node for node in graph.schedule if node.inputs[0] == channel.name]
    tables = [full_attributes(node)[_COUNTS[node.op]] for node in readers if node.op in _COUNTS]
    lengths = [int(full_attributes(node)["size"]) + 1 for node in readers if node.op == "sequence_mask"]  # type: ignore[arg-type]
    least = min([2 if channel.dtype == "bool" else _FEW, *lengths])
    bounds = [np.array(table, dtype=np.int64) for table in tables] or [np.array(least, dtype=np.int64)]
    found: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = np.asarray(np.minimum.reduce(np.broadcast_arrays(*bounds)))
    return found
