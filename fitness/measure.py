"""Scores of candidates from their outputs and the targets, in float64 and a fixed order.

A candidate's numbers follow from its own outputs alone: every step is elementwise, a sum over classes spelt out in their
order, or a running sum over that candidate's rows.

Shapes: P candidates, K classes, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Scores of P candidates on N rows.

    Attributes:
        accuracy: ``[P]``. cross_entropy: ``[P]``, nats a row.
        skills: ``[P, K]``, accuracy within each class; NaN where the rows hold none of it.
        correct: bool ``[P, N]``, for paired tests.
    """

    accuracy: Floats
    cross_entropy: Floats
    skills: Floats
    correct: npt.NDArray[np.bool_]


def measure_classes(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> Measured:
    """Returns the scores of class scores ``logits`` ``[P, K, N]``, which must be finite, against ``targets`` ``[N]``.

    The answer is the class with the largest score, the first of equals; cross-entropy takes the scores as logits.

    >>> measured = measure_classes(np.array([[[2.0, 0.0], [0.0, 0.0]]], dtype=np.float32), np.array([0, 1]))
    >>> measured.accuracy.tolist(), measured.skills.tolist()
    ([0.5], [[1.0, 0.0]])
    """
    scores = np.ascontiguousarray(logits, dtype=np.float64)
    num_candidates, num_classes, num_rows = scores.shape
    if targets.shape != (num_rows,) or num_rows == 0:
        raise ValueError(f"logits {scores.shape} need as many targets as rows, got {targets.shape}")
    correct = np.argmax(scores, axis=1) == targets  # [P, N]
    losses = _log_sum_exp(scores) - scores[:, targets, np.arange(num_rows)]
    skills = np.full((num_candidates, num_classes), np.nan)
    for position in range(num_classes):
        members = targets == position
        if members.any():
            skills[:, position] = np.count_nonzero(correct[:, members], axis=1) / np.count_nonzero(members)
    return Measured(
        accuracy=np.count_nonzero(correct, axis=1) / num_rows,
        cross_entropy=np.cumsum(losses, axis=1)[:, -1] / num_rows,
        skills=skills,
        correct=correct,
    )


def _log_sum_exp(scores: Floats) -> Floats:
    """Returns ``log(sum(exp(scores)))`` over the classes, ``[P, N]``; classes are added in their order."""
    largest = scores.max(axis=1)  # [P, N]
    total = np.zeros_like(largest)
    for position in range(scores.shape[1]):
        total += np.exp(np.ascontiguousarray(scores[:, position]) - largest)
    result: Floats = largest + np.log(total)
    return result
