"""What an output channel should have said: a class, or numbers, a row.

Nouns: a *target* is one output channel's right answers, with the loss that training takes.

Shapes: R rows, K classes, D numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fitness.measures.metrics import ClassAnswers, Floats, Kind, NumberAnswers
from population.errors import BenchmarkError

Array = npt.NDArray[Any]
LOSSES: Mapping[Kind, tuple[str, ...]] = {
    "classes": ("cross_entropy",),
    "numbers": ("squared", "absolute", "huber"),
}
DEFAULT_CHANNELS: Mapping[Kind, str] = {"classes": "logits", "numbers": "prediction"}
#: Beyond this many deviations an error counts linearly in the "huber" loss.
HUBER_AT = 1.0
QUARTERS = ("lowest", "lower", "higher", "highest")
MAX_CLASSES = 1 << 20


@dataclass(frozen=True, eq=False)
class Target:
    """One output channel's right answers; immutable, its array is read-only.

    Attributes:
        name: of the output channel. kind: "classes" or "numbers".
        values: int64 ``[R]``, positions in ``classes``; or float32 ``[R, D]``.
        classes: names of the classes, in the order of their numbers; by default their numbers. Of numbers: their names.
        loss: what training makes smaller: "cross_entropy"; "squared", "absolute" or "huber" of errors in units of the
            training rows' standard deviation. weight: of this loss beside other targets'.
        class_weights: what a row of each class counts in the loss; "balanced": ``R / (K R_k)``, from training rows.
    """

    name: str
    kind: Kind
    values: Array
    classes: tuple[str, ...] = ()
    loss: str = ""
    weight: float = 1.0
    class_weights: tuple[float, ...] | Literal["balanced"] = ()

    def __post_init__(self) -> None:
        if self.kind not in LOSSES:
            raise BenchmarkError(f"target {self.name!r}: kind must be 'classes' or 'numbers', got {self.kind!r}")
        check = _checked_classes if self.kind == "classes" else _checked_numbers
        values = check(np.asarray(self.values), self.name)
        size = int(values.max()) + 1 if self.kind == "classes" else values.shape[1]
        names = tuple(map(str, self.classes)) or tuple(map(str, range(size)))
        if len(set(names)) != len(names) or len(names) < size or (self.kind == "numbers" and len(names) != size):
            reach = f"reach {size - 1}" if self.kind == "classes" else f"are {size} numbers a row"
            raise BenchmarkError(
                f"target {self.name!r}: its values {reach}, but {len(set(names))} distinct names were given in skills: "
                "give each class or number one name"
            )
        loss = self.loss or LOSSES[self.kind][0]
        if loss not in LOSSES[self.kind]:
            raise BenchmarkError(
                f"target {self.name!r}: loss must be one of {', '.join(LOSSES[self.kind])}, got {loss!r}"
            )
        weights = self.class_weights
        if weights and (self.kind == "numbers" or (weights != "balanced" and not _are_weights(weights, len(names)))):
            raise BenchmarkError(
                f"target {self.name!r}: class_weights must be 'balanced' or {len(names)} positive numbers"
            )
        if not 0 < self.weight < float("inf"):
            raise BenchmarkError(f"target {self.name!r}: weight must be a positive number, got {self.weight}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "classes", names)
        object.__setattr__(self, "loss", loss)

    @property
    def size(self) -> int:
        """How many numbers the output channel holds: K or D."""
        return len(self.classes)

    @property
    def skills(self) -> tuple[str, ...]:
        """The names of its skills: its classes, the quarters of a single number, or its numbers."""
        return QUARTERS if self.kind == "numbers" and self.size == 1 else self.classes

    @property
    def is_plain(self) -> bool:
        """Whether it is what all targets were at first: classes of one channel, each counting alike. Digests go by that."""
        usual = (self.name, self.kind) == (DEFAULT_CHANNELS["classes"], "classes")
        return usual and self.weight == 1.0 and not self.class_weights

    @property
    def header(self) -> dict[str, Any]:
        """Everything but the values, as a plain value."""
        return {
            "name": self.name,
            "kind": self.kind,
            "classes": list(self.classes),
            "loss": self.loss,
            "weight": self.weight,
            "class_weights": self.class_weights if self.class_weights == "balanced" else list(self.class_weights),
        }

    @staticmethod
    def from_header(header: Mapping[str, Any], data: bytes) -> Target:
        """Returns the target of ``header`` with these values."""
        weights = header["class_weights"]
        rest = {
            "classes": tuple(header["classes"]),
            "class_weights": weights if weights == "balanced" else tuple(weights),
        }
        if header["kind"] == "classes":
            values: Array = np.frombuffer(data, dtype="<i8")
        else:
            values = np.frombuffer(data, dtype="<f4").reshape(-1, len(header["classes"]))
        return Target(**{**header, **rest, "values": values})

    def take(self, rows: npt.NDArray[np.int64]) -> Target:
        """Returns the same target of these rows alone."""
        return replace(self, values=self.values[rows])

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Scale:
    """What the training rows say of a target: the unit of its errors, and the weights of its classes.

    Attributes:
        mean, deviation: ``[D]`` of numbers; a deviation of zero is taken as one. edges: between the quarters, ``[3]``.
        class_weights: ``[K]``, all one where none are asked for.
    """

    mean: Floats = field(default_factory=lambda: np.zeros(1))
    deviation: Floats = field(default_factory=lambda: np.ones(1))
    edges: Floats = field(default_factory=lambda: np.zeros(3))
    class_weights: Floats = field(default_factory=lambda: np.ones(1))

    @staticmethod
    def of(target: Target, training: Array) -> Scale:
        """Returns the scale of a target from its values on training rows."""
        if target.kind == "classes":
            return Scale(class_weights=_class_weights(target, training))
        wide = training.astype(np.float64)
        deviation = wide.std(axis=0)
        return Scale(
            mean=wide.mean(axis=0),
            deviation=np.where(deviation > 0, deviation, 1.0),
            edges=np.quantile(wide[:, 0], (0.25, 0.5, 0.75)),
        )


#: What ``Benchmark.from_arrays`` takes for right answers.
Answers = Target | Sequence[Target] | Any


def targets_of(given: Answers, skills: Sequence[str] | None) -> tuple[Target, ...]:
    """Returns the targets that a caller means, checked against each other. Raises: BenchmarkError."""
    if isinstance(given, Target):
        found: tuple[Target, ...] = (given,)
    elif isinstance(given, Sequence) and given and all(isinstance(target, Target) for target in given):
        found = tuple(given)
    else:
        values = np.asarray(given)
        kind: Any = "numbers" if values.dtype.kind == "f" else "classes"
        found = (Target(DEFAULT_CHANNELS[kind], kind, values, tuple(skills or ())),)
    if len({target.name for target in found}) < len(found):
        raise BenchmarkError("two targets name the same output channel: rename one of them")
    if len({len(target) for target in found}) > 1:
        raise BenchmarkError(
            f"targets have different numbers of rows: {', '.join(str(len(target)) for target in found)}"
        )
    for target in found:
        different = (
            np.unique(target.values[: 1 << 20], axis=0) if target.kind == "numbers" else np.unique(target.values)
        )
        if len(different) < 2:
            what = "class" if target.kind == "classes" else "value"
            raise BenchmarkError(
                f"targets hold one {what} only ({different.tolist()[0]}); a benchmark needs at least two"
            )
    return found


def answers_of(target: Target, scale: Scale, outputs: Array, values: Array) -> ClassAnswers | NumberAnswers:
    """Returns outputs ``[P, K or D, N]`` beside a target's values of the same rows."""
    if target.kind == "classes":
        return ClassAnswers(outputs, values)
    return NumberAnswers(outputs, values, scale.deviation**2, scale.edges)


def loss_of(target: Target, scale: Scale, answers: ClassAnswers | NumberAnswers) -> Floats:
    """Returns the mean loss of each candidate, ``[P]``: what training makes smaller, without label smoothing."""
    if isinstance(answers, ClassAnswers):
        weighted = answers.losses * scale.class_weights[answers.targets]
        found: Floats = np.cumsum(weighted, axis=1)[:, -1] / weighted.shape[1]
        return found
    errors = np.abs(answers.errors) / scale.deviation[:, None]
    if target.loss == "absolute":
        each = errors
    elif target.loss == "squared":
        each = errors * errors
    else:
        each = np.where(errors <= HUBER_AT, 0.5 * errors * errors, HUBER_AT * (errors - 0.5 * HUBER_AT))
    mean: Floats = np.cumsum(np.cumsum(each, axis=1)[:, -1], axis=1)[:, -1] / (each.shape[1] * each.shape[2])
    return mean


def _class_weights(target: Target, training: Array) -> Floats:
    if target.class_weights != "balanced":
        return np.array(target.class_weights, dtype=np.float64) if target.class_weights else np.ones(target.size)
    counts = np.bincount(training, minlength=target.size)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, len(training) / (present * np.maximum(counts, 1.0)), 1.0)


def _are_weights(weights: Any, count: int) -> bool:
    return len(weights) == count and all(0 < weight < float("inf") for weight in weights)


def _checked_classes(values: Array, name: str) -> Array:
    if values.ndim != 1 or len(values) == 0:
        raise BenchmarkError(f"targets must be one whole number a row, [R] with R > 0, got shape {values.shape}")
    if values.dtype.kind not in "iu":
        raise BenchmarkError(
            f"target {name!r}: class numbers must be integers, got dtype {values.dtype}; encode them first"
        )
    if int(values.min()) < 0:
        raise BenchmarkError(f"targets must be class numbers from 0, got {int(values.min())}")
    if int(values.max()) >= MAX_CLASSES:
        raise BenchmarkError(f"targets must lie below 2**20, got {int(values.max())}; number the classes from 0")
    return _frozen(values.astype("<i8"))


def _checked_numbers(values: Array, name: str) -> Array:
    wide = values[:, None] if values.ndim == 1 else values
    if wide.ndim != 2 or 0 in wide.shape:
        raise BenchmarkError(f"target {name!r}: numbers must have shape [R] or [R, D], R > 0, got {values.shape}")
    if wide.dtype.kind not in "fiu":
        raise BenchmarkError(f"target {name!r}: expected numbers, got dtype {values.dtype}")
    with np.errstate(over="ignore"):
        floats = wide.astype("<f4")
    bad = np.flatnonzero(~np.isfinite(floats).all(axis=1))
    if len(bad):
        raise BenchmarkError(
            f"target {name!r} holds NaN, infinity or a number beyond float32 in {len(bad)} rows (first: row {bad[0]}); "
            "drop those rows"
        )
    return _frozen(floats)


def _frozen(array: Array) -> Array:
    frozen = np.ascontiguousarray(array)
    frozen.flags.writeable = False
    return frozen
