"""``spirals``: on which of two spirals that wind around each other does a point lie?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitness.benchmarks.benchmark import Benchmark

NUM_POINTS = 600


def spirals(*, objectives: Sequence[str] | None, split_seed: int) -> Benchmark:
    """Returns 600 points as channel "point" ``[2]``; equal on every call, as campaigns are keyed by the data."""
    place = np.arange(NUM_POINTS)
    side = place % 2
    angle = 0.5 + 5.5 * place / NUM_POINTS
    radius = angle / 6 * np.where(side == 0, 1.0, -1.0)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return Benchmark.from_arrays(
        {"point": points}, side, skills=("first", "second"), objectives=objectives, split_seed=split_seed
    )
