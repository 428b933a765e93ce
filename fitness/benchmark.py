"""What candidates are judged on: rows of named input channels with targets, objectives, skills and three splits.

Nouns: an *objective* is a number a candidate is judged by, with a direction; a *skill* is a named part of the benchmark
with a score of its own (each class is one); a *split* is "train", "validation" or "heldout".

Shapes: R rows, K classes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from population.errors import BenchmarkError

if TYPE_CHECKING:
    from fitness.tables import Preparation

SPLITS = ("train", "validation", "heldout")
DEFAULT_OBJECTIVES = ("accuracy", "cross_entropy", "flops", "bytes")
DEFAULT_SHARES = (0.6, 0.2, 0.2)
KEY_BYTES = 32

Array = npt.NDArray[Any]


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


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "accuracy": Objective("accuracy", "max", "score"),
        "cross_entropy": Objective("cross_entropy", "min", "score"),
        "flops": Objective("flops", "min", "cost"),
        "bytes": Objective("bytes", "min", "cost"),
    }
)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A classification data set with its objectives and its splits; immutable, its arrays are read-only.

    A row's split follows from BLAKE3 over the split seed and the bytes of the row's inputs alone, so that equal rows fall
    on one side and relabelling moves none.

    Attributes:
        inputs: channel name -> ``[R, *shape]``, float32 or an integer dtype.
        targets: int64 ``[R]``, positions in ``skills``.
        skills: names of the classes, in the order of their numbers.
        output: the output channel that holds the class scores; a graph without it answers by its first output.
        shares: expected parts of train, validation and held-out rows; they sum to 1.
        whole: where only the training rows are here, the splits' digests of the benchmark that they come from.
        keys: bytes ``[R, 32]`` that rows are split by in the place of their inputs: a table's rows are known by their raw
            cells, since what becomes of these is fitted on training rows. None: by their inputs.
        preparation: how the inputs were made of a table's raw rows; it stays where the benchmark was made.
    """

    name: str
    inputs: Mapping[str, Array]
    targets: npt.NDArray[np.int64]
    skills: tuple[str, ...]
    objectives: tuple[Objective, ...]
    split_seed: int = 0
    shares: tuple[float, float, float] = DEFAULT_SHARES
    output: str = "logits"
    whole: Mapping[str, bytes] | None = None
    keys: npt.NDArray[np.uint8] | None = None
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        if min(self.shares) <= 0 or not math.isclose(sum(self.shares), 1.0, abs_tol=1e-9):
            raise BenchmarkError(f"shares must be three positive numbers that sum to 1, got {self.shares}")
        if len(set(self.skills)) != self.num_classes or int(self.targets.max()) >= self.num_classes:
            raise BenchmarkError(
                f"targets reach {int(self.targets.max())}, but skills names {self.num_classes} distinct classes at most: "
                "give one name a class"
            )
        for split in SPLITS if self.whole is None else ():
            if len(self.rows(split)) == 0:
                raise BenchmarkError(
                    f"benchmark {self.name!r}: split {split!r} has no rows of {self.num_rows}; "
                    f"give more distinct rows or other shares than {self.shares}"
                )

    @staticmethod
    def from_arrays(
        inputs: Mapping[str, Any] | Any,
        targets: Any,
        *,
        name: str = "arrays",
        objectives: Sequence[str] = DEFAULT_OBJECTIVES,
        split_seed: int = 0,
        shares: tuple[float, float, float] = DEFAULT_SHARES,
        skills: Sequence[str] | None = None,
        gaps: Sequence[str] = (),
        keys: npt.NDArray[np.uint8] | None = None,
        preparation: Preparation | None = None,
    ) -> Benchmark:
        """Returns a benchmark over copies of these arrays.

        Args:
            inputs: channel name -> array ``[R, *shape]``; a single array becomes the channel "input".
            targets: whole numbers ``[R]`` from 0.
            skills: names of the classes; their numbers by default.
            gaps: channels in which NaN stands for a missing number.
            keys, preparation: as the attributes.

        Raises:
            BenchmarkError: rows, shapes, values, objectives, shares or classes do not fit together.

        >>> benchmark = Benchmark.from_arrays({"x": np.arange(40.0)[:, None]}, np.arange(40) % 2)
        >>> sum(len(benchmark.rows(split)) for split in SPLITS)
        40
        """
        channels = inputs if isinstance(inputs, Mapping) else {"input": inputs}
        labels = _checked_targets(np.asarray(targets))
        data = {str(key): _checked_input(str(key), np.asarray(channels[key]), len(labels), key in gaps)
                for key in sorted(channels)}  # fmt: skip
        names = tuple(skills) if skills is not None else tuple(str(k) for k in range(int(labels.max()) + 1))
        if len(shares) != 3:
            raise BenchmarkError(f"shares must be three positive numbers that sum to 1, got {shares}")
        measured = _named_objectives(objectives)
        made = Benchmark(name, MappingProxyType(data), labels, names, measured, split_seed, shares, keys=keys)
        return replace(made, preparation=preparation)

    @staticmethod
    def from_table(table: Any, target: str, **settings: Any) -> Benchmark:
        """Returns a benchmark over the rows of a table, its preprocessing fitted on the training rows.

        Args:
            table: the path of a CSV or Parquet file, or columns by name (a mapping, a pandas or an Arrow table).
            target: the column to tell. settings: see ``fitness.tables.TableSettings``.

        Raises:
            InputError: the file cannot be read, or the table cannot be learned from; the message says what to do.
        """
        from fitness.tables import TableSettings, prepare_table, table_of

        return prepare_table(table_of(table), TableSettings(target=target, **settings))

    @property
    def num_rows(self) -> int:
        """Returns R, the rows of all splits together."""
        return len(self.targets)

    @property
    def num_classes(self) -> int:
        """Returns K."""
        return len(self.skills)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Returns the ascending row numbers of a split."""
        if split not in SPLITS:
            raise BenchmarkError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        if self.whole is not None and split != "train":
            raise BenchmarkError(f"rows of split {split!r} are not here: operators are given training rows only")
        return self._split_rows[split]

    def inputs_of(self, split: str) -> dict[str, Array]:
        """Returns the channels of a split, ``[rows, *shape]``, new memory."""
        return {channel: array[self.rows(split)] for channel, array in self.inputs.items()}

    def targets_of(self, split: str) -> npt.NDArray[np.int64]:
        """Returns the targets of a split, new memory."""
        return self.targets[self.rows(split)]

    def digest(self, split: str) -> bytes:
        """Returns 32 bytes that name the inputs and targets of a split."""
        return self._split_digests[split] if split in SPLITS else self._refuse(split)

    @functools.cached_property
    def digest_of_data(self) -> bytes:
        """Returns 32 bytes that name all rows, targets and class names, whatever the splits."""
        return _digest_arrays(self.inputs, self.targets, self.skills)

    def training_only(self) -> Benchmark:
        """Returns what an operator may learn from: the training rows, and no other row or label.

        Digests are still those of the whole, so that a recipe that names the training rows finds them.

        Raises:
            BenchmarkError: when asked for rows of another split.
        """
        if self.whole is not None:
            return self
        rows = self.rows("train")
        inputs = {key: _frozen(array[rows]) for key, array in self.inputs.items()}
        targets = _frozen(self.targets[rows])
        whole = dict(self._split_digests)
        return replace(self, inputs=MappingProxyType(inputs), targets=targets, whole=whole, keys=None, preparation=None)

    def with_shuffled_labels(self, seed: int) -> Benchmark:
        """Returns the same rows in the same splits with the targets dealt anew: what learns from it is a leak."""
        words = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)).random_raw(self.num_rows)
        return self._with_targets(self.targets[np.argsort(words, kind="stable")], f"{self.name}-shuffled-{seed}")

    def channel_of(self, outputs: Sequence[str]) -> str:
        """Returns which of a block's output channels holds the class scores: ``output`` if it has it, else its first."""
        return self.output if self.output in outputs else outputs[0]

    def to_parts(self) -> tuple[dict[str, Any], list[bytes]]:
        """Returns a plain value and the arrays' bytes, from which ``from_parts`` makes an equal benchmark."""
        arrays = [*self.inputs.values(), self.targets]
        channels = [[key, array.dtype.str, list(array.shape)] for key, array in self.inputs.items()]
        value = {
            "name": self.name,
            "channels": channels,
            "skills": list(self.skills),
            "objectives": [objective.name for objective in self.objectives],
            "split_seed": self.split_seed,
            "shares": list(self.shares),
            "output": self.output,
            "whole": None if self.whole is None else dict(self.whole),
            "keys": None if self.keys is None else self.keys.tobytes(),
        }
        return value, [array.tobytes() for array in arrays]

    @staticmethod
    def from_parts(value: Mapping[str, Any], parts: Sequence[bytes]) -> Benchmark:
        """Returns the benchmark of ``to_parts``."""
        data = {
            key: _frozen(np.frombuffer(part, dtype=np.dtype(dtype)).reshape(shape))
            for (key, dtype, shape), part in zip(value["channels"], parts, strict=False)
        }
        first, second, third = value["shares"]
        return Benchmark(
            name=value["name"],
            inputs=MappingProxyType(data),
            targets=_frozen(np.frombuffer(parts[-1], dtype=np.int64)),
            skills=tuple(value["skills"]),
            objectives=_named_objectives(value["objectives"]),
            split_seed=value["split_seed"],
            shares=(first, second, third),
            output=value["output"],
            whole=value["whole"],
            keys=None if value["keys"] is None else np.frombuffer(value["keys"], dtype=np.uint8).reshape(-1, KEY_BYTES),
        )

    @functools.cached_property
    def _split_rows(self) -> Mapping[str, npt.NDArray[np.int64]]:
        if self.whole is not None:
            return {"train": np.arange(self.num_rows, dtype=np.int64)}
        return split_of_rows(self._row_texts(), self.split_seed, self.shares)

    @functools.cached_property
    def _split_digests(self) -> Mapping[str, bytes]:
        if self.whole is not None:
            return self.whole
        return {split: _digest_arrays(self.inputs_of(split), self.targets_of(split), self.skills) for split in SPLITS}

    def _row_texts(self) -> Iterator[bytes]:
        """Yields what each row is known by: its key, or its inputs' names and bytes."""
        if self.keys is not None:
            yield from (key.tobytes() for key in self.keys)
            return
        channels = [(key.encode() + b"\0", self.inputs[key]) for key in sorted(self.inputs)]
        for row in range(self.num_rows):
            yield b"".join(key + array[row].tobytes() for key, array in channels)

    def _with_targets(self, targets: npt.NDArray[np.int64], name: str) -> Benchmark:
        return replace(self, targets=_frozen(targets.copy()), name=name)

    def _refuse(self, split: str) -> bytes:
        raise BenchmarkError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")


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


def _named_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    unknown = [name for name in names if name not in OBJECTIVES]
    if unknown or not names or len(set(names)) != len(names):
        raise BenchmarkError(
            f"objectives must be distinct names out of {', '.join(OBJECTIVES)}, got {', '.join(map(str, names)) or 'none'}"
        )
    return tuple(OBJECTIVES[name] for name in names)


def _checked_targets(targets: Array) -> npt.NDArray[np.int64]:
    if targets.ndim != 1 or len(targets) == 0:
        raise BenchmarkError(f"targets must be one whole number a row, [R] with R > 0, got shape {targets.shape}")
    if targets.dtype.kind not in "iu":
        raise BenchmarkError(f"targets must be integers (class numbers), got dtype {targets.dtype}; encode them first")
    if int(targets.min()) < 0:
        raise BenchmarkError(f"targets must be class numbers from 0, got {int(targets.min())}")
    if int(targets.max()) >= 2**20:
        raise BenchmarkError(f"targets must lie below 2**20, got {int(targets.max())}; number the classes from 0")
    if len(np.unique(targets)) < 2:
        raise BenchmarkError(f"targets hold one class only ({int(targets[0])}); a benchmark needs at least two")
    return _frozen(targets.astype(np.int64))


def _checked_input(channel: str, array: Array, num_rows: int, may_miss: bool = False) -> Array:
    if array.ndim < 1 or array.shape[0] != num_rows:
        raise BenchmarkError(f"channel {channel!r} has shape {array.shape}, but targets have {num_rows} rows")
    if array.dtype.kind not in "fiu" or 0 in array.shape:
        raise BenchmarkError(f"channel {channel!r} must hold numbers, got dtype {array.dtype} and shape {array.shape}")
    if array.dtype.kind in "iu":
        return _frozen(array.astype("<i8"))
    with np.errstate(over="ignore"):
        floats = array.astype("<f4")
    good = np.isfinite(floats) | (np.isnan(array) if may_miss else False)
    bad = np.flatnonzero(~good.reshape(num_rows, -1).all(axis=1))
    if len(bad):
        raise BenchmarkError(
            f"channel {channel!r} holds NaN, infinity or a number beyond float32 in {len(bad)} rows (first: row {bad[0]}); "
            "fill or drop them, or name the channel in gaps if NaN stands for a missing number"
        )
    floats = (
        np.where(np.isnan(floats), np.float32(np.nan), floats) if may_miss else floats
    )  # one NaN has one bit pattern
    return _frozen(floats + np.float32(0.0))  # -0.0 becomes 0.0, so that equal rows have equal bytes


def _frozen(array: Array) -> Array:
    frozen = np.ascontiguousarray(array)
    frozen.flags.writeable = False
    return frozen


def _digest_arrays(inputs: Mapping[str, Array], targets: Array, skills: tuple[str, ...]) -> bytes:
    hasher = blake3(derive_key_context="evolve 2026 benchmark data")
    for key in sorted(inputs):
        hasher.update(repr((key, inputs[key].dtype.str, inputs[key].shape)).encode())
        hasher.update(inputs[key].tobytes())
    hasher.update(repr(skills).encode())
    hasher.update(targets.astype("<i8").tobytes())
    return hasher.digest()
