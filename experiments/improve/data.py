"""The two data sets of the study, which scikit-learn ships in its wheel, as files that a user would bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn import datasets
from torch import nn

from experiments.improve import cells, net

HERE = Path(__file__).parent
Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Case:
    """A network that is trained badly, and its data.

    Attributes:
        file: of the network. channel: the argument of its forward, and the array of the inputs. arrays: inputs and labels.
    """

    network: Callable[[], nn.Module]
    file: Path
    channel: str
    arrays: Callable[[], tuple[Array, Array]]

    def write(self, path: Path) -> None:
        """Writes the data as .npz: the inputs under the channel's name, and ``label``."""
        inputs, labels = self.arrays()
        np.savez(path, **{self.channel: inputs, "label": labels})


def digits() -> tuple[Array, Array]:
    """1,797 images of handwritten digits, ``[1, 8, 8]`` with values up to 16; ten classes."""
    bunch = datasets.load_digits()
    return bunch.images[:, None].astype(np.float32), bunch.target.astype(np.int64)


def breast_cancer() -> tuple[Array, Array]:
    """569 tumours, malignant or benign: mean, error and worst of ten measurements of their cells, ``[3, 10]``."""
    bunch = datasets.load_breast_cancer()
    return bunch.data.reshape(-1, 3, 10).astype(np.float32), bunch.target.astype(np.int64)


CASES = {
    "digits": Case(net.Net, HERE / "net.py", "image", digits),
    "breast_cancer": Case(cells.Cells, HERE / "cells.py", "cells", breast_cancer),
}
