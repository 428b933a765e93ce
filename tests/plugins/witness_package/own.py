"""A user's fitness function that notes where it runs, and says whether held-out labels are in its reach."""

from __future__ import annotations

from typing import Any

import witness


def fitness(outputs: Any, targets: Any) -> dict[str, float]:
    """The share of right rows; ``reach`` is 1 where held-out labels can be found, as they are when it scores those."""
    witness.note("fitness", may_see_labels=True)
    right = float((outputs.argmax(axis=0) == targets).mean())
    return {"right": right, "reach": float(witness.labels_in_reach())}
