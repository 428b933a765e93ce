"""Seeded inputs to compare models on: normal numbers, and ids that every table knows where a channel holds whole ones.

Shapes: N samples.

Nouns: none.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch

from population.block import DTYPES
from population.graph import OpGraph
from population.nodes import Channel, full_attributes
from population.randomness import integers, normals

#: So many inputs decide whether two models are the same.
NUM_INPUTS: Final = 1000
#: Which attribute says how many ids there are.
_COUNTS: Final = {"embedding": "num_embeddings", "one_hot": "sizes"}
#: Whole numbers stay below this where nothing says how many there are.
_FEW: Final = 10


def seeded_inputs(graph: OpGraph, num_samples: int = NUM_INPUTS, seed: int = 0) -> dict[str, torch.Tensor]:
    """Inputs for every channel of a graph, ``[N, *shape]`` in the channel's dtype: the same for the same seed.

    Randomness: one stream of the seed for each channel, in alphabetical order.
    """
    found = {}
    for stream, channel in enumerate(graph.inputs):
        count = num_samples * math.prod(channel.shape)
        if channel.dtype.startswith(("float", "bfloat")):
            drawn = torch.from_numpy(normals(seed, stream, count).copy())
        else:
            drawn = torch.from_numpy(integers(seed, stream, count, 2**16))
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
