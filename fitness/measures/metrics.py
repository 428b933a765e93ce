"""What answers are measured by: metrics by name, as scikit-learn defines them, over all candidates at once, in float64.

A candidate's numbers follow from its own outputs alone: every step is elementwise, a sum over classes spelt out in their
order, or a running sum over that candidate's rows. Adding a metric is one function with a ``register`` call.

Nouns: an *objective* is a number a candidate is judged by, with a direction; a *metric* is how one is measured; *class
answers* and *number answers* are outputs beside what they should have been.

Shapes: P candidates, K classes, D numbers, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Kind = Literal["classes", "numbers"]


@dataclass(frozen=True)
class Objective:
    """One number a candidate is judged by.

    Attributes:
        direction: "max" or "min", as users see the value. Inside, ``signed`` values are compared: larger is better.
        kind: "score" is measured on rows, "cost" is counted from the graph and the live widths.
    """

    name: str
    direction: Literal["max", "min"]
    kind: Literal["score", "cost"]

    def signed(self, value: float) -> float:
        """Returns the value with the sign that makes larger better; applied twice it gives the value back."""
        return value if self.direction == "max" else -value


@dataclass(frozen=True)
class Metric:
    """How one number is measured; what the functions return is ``[P]``.

    Attributes:
        of_classes: of class answers; None where it has no meaning there. of_numbers: of number answers, likewise.
    """

    name: str
    direction: Literal["max", "min"]
    of_classes: Callable[[ClassAnswers], Floats] | None = None
    of_numbers: Callable[[NumberAnswers], Floats] | None = None

    def fits(self, kind: Kind) -> bool:
        """Returns whether it can be taken of answers of a kind."""
        return (self.of_classes if kind == "classes" else self.of_numbers) is not None


class ClassAnswers:
    """Class scores ``[P, K, N]``, taken as logits, against class numbers ``[N]``; the largest score is the answer, the
    first of equals.

    >>> answers = ClassAnswers(np.array([[[2.0, 0.0], [0.0, 0.0]]]), np.array([0, 1]))
    >>> answers.merits.tolist(), answers.skills.tolist(), answers.measure("accuracy").tolist()
    ([[1.0, 0.0]], [[1.0, 0.0]], [0.5])
    """

    def __init__(self, outputs: npt.NDArray[Any], targets: npt.NDArray[np.int64]) -> None:
        self.scores: Floats = np.ascontiguousarray(outputs, dtype=np.float64)
        self.targets = targets
        if targets.shape != self.scores.shape[-1:] or not len(targets):
            raise ValueError(f"logits {self.scores.shape} need as many targets as rows, got {targets.shape}")

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """The class that each candidate names, ``[P, N]``."""
        return self._best[0]

    @cached_property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """Which rows are answered rightly, ``[P, N]``."""
        found: npt.NDArray[np.bool_] = self.answers == self.targets
        return found

    @property
    def merits(self) -> Floats:
        """What a row adds to the principal metric: 1 where it is answered rightly, ``[P, N]``."""
        return self.is_correct.astype(np.float64)

    @cached_property
    def skills(self) -> Floats:
        """Accuracy within each class, ``[P, K]``; NaN where no row is of it."""
        num_classes = self.scores.shape[1]
        order = np.argsort(self.targets, kind="stable")
        sums = np.zeros((len(self.scores), len(order) + 1), dtype=np.int64)  # of rows answered rightly, class by class
        np.cumsum(self.is_correct[:, order], axis=1, out=sums[:, 1:])
        ends = np.searchsorted(self.targets[order], np.arange(num_classes + 1))
        counts = np.diff(ends).astype(np.float64)
        counts[counts == 0] = np.nan
        found: Floats = np.diff(sums[:, ends], axis=1) / counts
        return found

    @cached_property
    def losses(self) -> Floats:
        """Cross-entropy of each row in nats, ``[P, N]``."""
        picked = self.scores[:, self.targets, np.arange(len(self.targets))]
        found: Floats = self._log_sum_exp - picked
        return found

    @cached_property
    def probabilities(self) -> Floats:
        """Softmax of the scores, ``[P, K, N]``."""
        found: Floats = np.exp(self.scores - self._log_sum_exp[:, None])
        return found

    def counts(self, position: int) -> tuple[Floats, Floats, Floats]:
        """Returns how often a class was named, stood there, and both: ``[P]`` each."""
        named, stood = self.answers == position, self.targets == position
        both = np.count_nonzero(named & stood, axis=1)
        stands = np.full(len(both), np.count_nonzero(stood))
        return np.count_nonzero(named, axis=1).astype(np.float64), stands.astype(np.float64), both.astype(np.float64)

    def measure(self, name: str) -> Floats:
        """Returns a metric by its name, ``[P]``."""
        taken = METRICS[name].of_classes
        assert taken is not None, "objectives are checked when a benchmark is made"
        return taken(self)

    @cached_property
    def _best(self) -> tuple[npt.NDArray[np.int64], Floats]:
        """The class with the largest score, and the score, ``[P, N]`` each; by class, since that is one pass of long runs."""
        largest = self.scores[:, 0].copy()
        named = np.zeros(largest.shape, dtype=np.int64)
        for position in range(1, self.scores.shape[1]):
            column = self.scores[:, position]
            np.copyto(named, position, where=column > largest)
            np.maximum(largest, column, out=largest)
        return named, largest

    @cached_property
    def _log_sum_exp(self) -> Floats:
        """``log(sum(exp(scores)))`` over the classes, ``[P, N]``; classes are added in their order."""
        largest = self._best[1]
        total = np.zeros_like(largest)
        for position in range(self.scores.shape[1]):
            total += np.exp(self.scores[:, position] - largest)
        found: Floats = largest + np.log(total)
        return found


class NumberAnswers:
    """Numbers ``[P, D, N]`` against numbers ``[N, D]``.

    Args:
        variances: of the training rows' targets, ``[D]``: the unit of merits and skills. edges: three numbers between the
            quarters of the training rows' targets, where D is 1.
    """

    def __init__(self, outputs: npt.NDArray[Any], targets: npt.NDArray[Any], variances: Floats, edges: Floats) -> None:
        self.targets: Floats = np.ascontiguousarray(np.asarray(targets, dtype=np.float64).T)  # [D, N]
        self.errors: Floats = np.ascontiguousarray(outputs, dtype=np.float64) - self.targets  # [P, D, N]
        self._variances, self._edges = variances, edges

    @cached_property
    def squares(self) -> Floats:
        """Squared errors, ``[P, D, N]``."""
        found: Floats = self.errors * self.errors
        return found

    @property
    def merits(self) -> Floats:
        """What a row adds to R2, but for a constant: minus its squared error in units of the variance, ``[P, N]``."""
        return -_mean(self.squares / self._variances[:, None], axis=1)

    @property
    def skills(self) -> Floats:
        """One minus the mean squared error in units of the variance: ``[P, 4]`` for the quarters of a single number, from
        the smallest; ``[P, D]`` for several. NaN where no row is of a quarter."""
        scaled = self.squares / self._variances[:, None]
        if len(self.targets) > 1:
            found: Floats = 1.0 - _mean(scaled, axis=2)
            return found
        quarter = np.searchsorted(self._edges, self.targets[0], side="right")
        found = np.full((len(scaled), 4), np.nan)
        for position in range(4):
            if (quarter == position).any():
                found[:, position] = 1.0 - _mean(scaled[:, 0, quarter == position], axis=1)
        return found

    def measure(self, name: str) -> Floats:
        """Returns a metric by its name, ``[P]``."""
        taken = METRICS[name].of_numbers
        assert taken is not None, "objectives are checked when a benchmark is made"
        return taken(self)


def _mean(values: Floats, axis: int) -> Floats:
    """The mean along an axis by a running sum, so that no bit depends on the other candidates."""
    total = np.cumsum(values, axis=axis)
    found: Floats = np.take(total, -1, axis=axis) / values.shape[axis]
    return found


# ---- metrics ---------------------------------------------------------------------------------------------------------


def _balanced_accuracy(found: ClassAnswers) -> Floats:
    """Mean accuracy within the classes that the rows have."""
    present = found.skills[:, np.unique(found.targets)]
    return _mean(present, axis=1)


def _f1(found: ClassAnswers) -> Floats:
    """F1 of the second of two classes, or the unweighted mean over more; 0 where a class is neither named nor there."""
    num_classes = found.scores.shape[1]
    # scikit-learn's mean over classes leaves out those that are neither in the rows nor named by the candidate
    total, count = np.zeros(len(found.scores)), np.zeros(len(found.scores))
    for position in [1] if num_classes == 2 else range(num_classes):
        named, stood, both = found.counts(position)
        seen = named + stood > 0
        total += np.where(seen, 2.0 * both / np.maximum(named + stood, 1.0), 0.0)
        count += seen
    return total / np.maximum(count, 1.0)


def _roc_auc(found: ClassAnswers) -> Floats:
    """Area under the ROC curve: of the second of two classes, or the mean of each class against the rest; NaN where the rows
    are all of one class. Source: Mann and Whitney 1947; ties count half."""
    from scipy.stats import rankdata  # heavy: only where it is asked for

    num_rows, num_classes = len(found.targets), found.scores.shape[1]
    areas = []
    for position in [1] if num_classes == 2 else range(num_classes):
        members = found.targets == position
        inside, outside = np.count_nonzero(members), np.count_nonzero(~members)
        if not inside or not outside:
            continue
        values = found.scores[:, 1] - found.scores[:, 0] if num_classes == 2 else found.probabilities[:, position]
        ranks = np.asarray(rankdata(values.reshape(-1, num_rows), axis=1))
        above = np.cumsum(ranks[:, members], axis=1)[:, -1] - inside * (inside + 1) / 2.0
        areas.append(above / (inside * outside))
    return _mean(np.stack(areas, axis=1), axis=1) if areas else np.full(len(found.scores), np.nan)


def _r2(found: NumberAnswers) -> Floats:
    """The coefficient of determination, mean over the numbers; of a constant target 1 where it is met, else 0."""
    centred = found.targets - found.targets.mean(axis=1, keepdims=True)
    spread = (centred * centred).sum(axis=1)  # [D]
    left = np.cumsum(found.squares, axis=2)[:, :, -1]
    constant = np.where(left == 0.0, 1.0, 0.0)
    return _mean(np.where(spread > 0, 1.0 - left / np.where(spread > 0, spread, 1.0), constant), axis=1)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("accuracy", "max", lambda found: np.count_nonzero(found.is_correct, axis=1) / len(found.targets)),
            Metric("cross_entropy", "min", lambda found: _mean(found.losses, axis=1)),
            Metric("balanced_accuracy", "max", _balanced_accuracy),
            Metric("f1", "max", _f1),
            Metric("roc_auc", "max", _roc_auc),
            Metric("r2", "max", None, _r2),
            Metric("rmse", "min", None, lambda found: _mean(np.sqrt(_mean(found.squares, axis=2)), axis=1)),
            Metric("mae", "min", None, lambda found: _mean(_mean(np.abs(found.errors), axis=2), axis=1)),
        )
    }
)
#: What every benchmark measures of answers of a kind, the principal metric first.
ALWAYS: Mapping[Kind, tuple[str, ...]] = {"classes": ("accuracy", "cross_entropy"), "numbers": ("r2", "rmse")}
COSTS = ("flops", "bytes")
#: What episodes are measured by, the principal one first: the sum of an episode's rewards, and how long it lasts.
PLAYED = ("return", "steps")
#: The losses of all targets, each with its weight, added up: what training makes smaller, without label smoothing.
LOSS = "loss"


def objective_of(name: str) -> Objective | None:
    """Returns what a name stands for, ``CHANNEL.METRIC`` too; None where it is no metric and no cost.

    >>> objective_of("digit.accuracy").direction, objective_of("flops").kind
    ('max', 'cost')
    """
    if name in COSTS:
        return Objective(name, "min", "cost")
    if name == LOSS:
        return Objective(name, "min", "score")
    if name in PLAYED:
        return Objective(name, "max" if name == PLAYED[0] else "min", "score")
    metric = METRICS.get(name.rpartition(".")[2])
    return Objective(name, metric.direction, "score") if metric is not None else None


def sign_of(name: str) -> int:
    """Returns 1 where a larger value of an objective is better, also of one that nobody knows; else -1."""
    known = objective_of(name)
    return -1 if known is not None and known.direction == "min" else 1
