"""Which rows are for training, validation and held-out checks: by what a row is known by, and a seed, and nothing else.

Nouns: a *split* is "train", "validation" or "heldout".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from blake3 import blake3

SPLITS = ("train", "validation", "heldout")
KEY_BYTES = 32
DEFAULT_SHARES = (0.6, 0.2, 0.2)


def split_of_rows(
    rows: Iterable[bytes], split_seed: int, shares: tuple[float, float, float]
) -> Mapping[str, npt.NDArray[np.int64]]:
    """Returns the ascending row numbers of each split: a row's follows from what it is known by and the seed alone."""
    prefix = split_seed.to_bytes(8, "little", signed=True)
    words = (blake3(prefix + row, derive_key_context="evolve 2026 split of a row").digest(8) for row in rows)
    places = np.array([(int.from_bytes(word, "little") >> 11) * 2.0**-53 for word in words], dtype=np.float64)
    train, validation, _ = shares
    number = (places >= train).astype(np.int64) + (places >= train + validation)
    return {split: np.flatnonzero(number == position).astype(np.int64) for position, split in enumerate(SPLITS)}
