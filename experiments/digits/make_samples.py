"""Writes ``samples.npz``: 20 images of scikit-learn's digits as channel ``image`` ``[20, 1, 8, 8]``, for ``evolve infer``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def main() -> None:
    """Writes the file beside this script."""
    images = load_digits().images[:20].astype(np.float32)[:, None]
    np.savez_compressed(Path(__file__).with_name("samples.npz"), image=images)


if __name__ == "__main__":
    main()
