"""Generated sequences whose answer lies in the order of their tokens, and in nothing else.

Each sequence has the markers 1, 2 and 3 once each, among fillers; which marker comes first is the answer. Sequences come in
groups of three that differ only in a rotation of the markers: the three have the same tokens and three different answers.
So whatever looks at counts of tokens alone answers exactly one of each group, a third of all.

Nouns: *marker*, *filler*; 0 is padding.

Shapes: G groups, R = 3 G rows, L places.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from population.randomness import integers, words

MARKERS: Final = 3
FILLERS: Final = 8
#: Padding, markers and fillers: tokens are whole numbers below this.
VOCABULARY: Final = 1 + MARKERS + FILLERS
LONGEST: Final = 12
SHORTEST: Final = 6
SEED: Final = 2026

Tokens = npt.NDArray[np.int64]


def which_comes_first(num_groups: int = 1200, seed: int = SEED) -> tuple[Tokens, npt.NDArray[np.int64]]:
    """Returns tokens int64 ``[R, L]`` and which marker comes first, 0 to 2, int64 ``[R]``; groups lie together.

    Randomness: pinned Philox words of ``seed``; equal on every machine.
    """
    lengths = SHORTEST + integers(seed, 0, num_groups, LONGEST - SHORTEST + 1)  # [G]
    fillers = 1 + MARKERS + integers(seed, 1, num_groups * LONGEST, FILLERS).reshape(num_groups, LONGEST)
    inside = np.arange(LONGEST) < lengths[:, None]
    keys = words(seed, 2, num_groups * LONGEST).reshape(num_groups, LONGEST).astype(np.int64)
    chosen = np.argsort(np.where(inside, keys, 1 << 16), axis=1, kind="stable")[:, :MARKERS]  # any places, [G, 3]
    places = np.sort(chosen, axis=1)
    first = integers(seed, 3, num_groups, MARKERS)
    groups = np.repeat(np.where(inside, fillers, 0)[:, None], MARKERS, axis=1)  # [G, 3, L]
    turns = (first[:, None, None] + np.arange(MARKERS)[:, None] + np.arange(MARKERS)) % MARKERS  # [G, turn, place]
    np.put_along_axis(groups, np.repeat(places[:, None], MARKERS, axis=1), 1 + turns, axis=2)
    return groups.reshape(-1, LONGEST), turns[:, :, 0].reshape(-1)
