"""Random tensors for whole stacks: row i is drawn from seed i alone, and each tensor from a stream named after it.

Nouns: *stream*, the 64-bit number that BLAKE3 makes of a tensor's name, so that a tensor's noise does not depend on which
other tensors exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from blake3 import blake3

from population.randomness import coins, normals


@cache
def stream_of(name: str) -> int:
    """Returns the stream number of a tensor or decision name."""
    return int.from_bytes(blake3(name.encode()).digest(length=8), "little")


def normal_rows(seeds: Sequence[int], name: str, shape: Sequence[int]) -> torch.Tensor:
    """Returns standard normal deviates ``[P, *shape]``, float32; one row a seed."""
    count = math.prod(shape)
    rows = np.empty((len(seeds), count), dtype=np.float32)
    for row, seed in enumerate(seeds):
        rows[row] = normals(seed, stream_of(name), count)
    return torch.from_numpy(rows).reshape(len(seeds), *shape)


def coin_rows(seeds: Sequence[int], name: str, shape: Sequence[int], rate: float) -> torch.Tensor:
    """Returns independent booleans ``[P, *shape]``, each true with probability ``rate``; one row a seed."""
    count = math.prod(shape)
    rows = np.empty((len(seeds), count), dtype=np.bool_)
    for row, seed in enumerate(seeds):
        rows[row] = coins(seed, stream_of(name), count, rate)
    return torch.from_numpy(rows).reshape(len(seeds), *shape)


def along(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Returns ``values`` ``[P]`` shaped ``[P, 1, ...]`` so that they multiply whole rows of ``like``."""
    return values.reshape(-1, *([1] * (like.dim() - 1)))
