"""A benchmark from named arrays, as a file of arrays (``.npz``, or two ``.npy``) holds them: several channels and targets.

How the bytes are read: `population.inputs.archives`. Nouns: none beyond those of benchmarks.

Shapes: R rows, D numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.benchmark import Benchmark
from fitness.measures.metrics import Kind
from fitness.measures.splits import DEFAULT_SHARES
from fitness.measures.targets import DEFAULT_CHANNELS, Target
from population.errors import InputError

#: Whole numbers of at most so many different values are taken for classes where nobody says what they are.
MAX_CLASSES = 1000

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ArrayTarget:
    """What is known of a target besides its values; what stands empty follows from them.

    Attributes:
        task: whole numbers, booleans and text are classes by default, other numbers are numbers. loss, weight,
            class_weights: as in ``Target``.
    """

    task: Literal["auto", "classification", "regression"] = "auto"
    loss: str = ""
    weight: float = 1.0
    class_weights: Literal["none", "balanced"] = "none"


@dataclass(frozen=True)
class ArraySettings:
    """targets: names of the arrays that are to be told; all others are input channels, or those of ``inputs`` alone."""

    targets: Mapping[str, ArrayTarget]
    inputs: Sequence[str] = ()
    split_seed: int = 0
    shares: tuple[float, float, float] = field(default=DEFAULT_SHARES)


def benchmark_of_arrays(arrays: Mapping[str, Array], settings: ArraySettings) -> Benchmark:
    """Returns the benchmark of named arrays: a single target answers the usual channel, several their own names.

    Raises:
        InputError: an array is missing, or is not what its role asks for. BenchmarkError: they do not fit together.
    """
    for name in (*settings.targets, *settings.inputs):
        if name not in arrays:
            raise InputError(f"there is no array {name!r}; there are {', '.join(sorted(arrays))}")
    both = set(settings.inputs) & set(settings.targets)
    if both:
        raise InputError(f"{', '.join(sorted(both))}: an array is an input or a target, not both")
    chosen = settings.inputs or [name for name in sorted(arrays) if name not in settings.targets]
    if not chosen:
        raise InputError("every array is a target: name one more, which is the input")
    is_single = len(settings.targets) == 1
    targets = [_target(name, arrays[name], wanted, is_single) for name, wanted in settings.targets.items()]
    inputs = {name: _input(name, arrays[name]) for name in chosen}
    return Benchmark.from_arrays(inputs, targets, split_seed=settings.split_seed, shares=settings.shares)


def _target(name: str, array: Array, wanted: ArrayTarget, is_single: bool) -> Target:
    kind = _kind(name, array, wanted)
    values, classes = array, tuple[str, ...]()
    if kind == "classes":
        found, positions = np.unique(array.reshape(-1) if array.shape[1:] == (1,) else array, return_inverse=True)
        if array.ndim != 1 and array.shape[1:] != (1,):
            raise InputError(f"target {name!r}: classes must be one a row, [R], got shape {array.shape}")
        values, classes = positions.reshape(-1), tuple(map(str, found.tolist()))
    elif array.dtype.kind not in "fiu" or array.ndim > 2:
        raise InputError(f"target {name!r}: numbers must be [R] or [R, D], got {array.dtype} {array.shape}")
    else:
        values = array.astype(np.float64)
    channel = DEFAULT_CHANNELS[kind] if is_single else name
    weights: Any = "balanced" if wanted.class_weights == "balanced" else ()
    return Target(channel, kind, values, classes, wanted.loss, wanted.weight, weights if kind == "classes" else ())


def _kind(name: str, array: Array, wanted: ArrayTarget) -> Kind:
    if wanted.task != "auto":
        return "classes" if wanted.task == "classification" else "numbers"
    if array.dtype.kind in "bUS":
        return "classes"
    if array.dtype.kind in "iu" and (array.ndim == 1 or array.shape[1:] == (1,)):
        if len(np.unique(array)) <= MAX_CLASSES:
            return "classes"
        raise InputError(
            f"target {name!r} holds {len(np.unique(array)):,} different whole numbers: say whether they are classes or "
            "numbers, by its task (classification, regression)"
        )
    return "numbers"


def _input(name: str, array: Array) -> Array:
    if array.dtype.kind not in "fiub":
        raise InputError(f"input {name!r} must hold numbers, got {array.dtype}; encode text as whole numbers first")
    wide = array.reshape(len(array), -1) if array.ndim == 1 else array
    return wide.astype(np.float32) if array.dtype in (np.bool_, np.uint8) else wide  # pixels; tokens are wider
