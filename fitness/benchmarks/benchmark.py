"""What candidates are judged on: rows of named input channels with targets, objectives, skills and three splits.

Nouns: a *skill* is a named part of the benchmark with a score of its own (each class is one); a *split* is "train",
"validation" or "heldout".

Shapes: R rows, T targets, S numbers that all targets' output channels hold together.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.checked_arrays import Array, checked_inputs, digest_of_arrays, frozen
from fitness.measures.metrics import ALWAYS, COSTS, LOSS, METRICS, Objective
from fitness.measures.objectives import default_objectives, named_objectives, prefixed
from fitness.measures.splits import DEFAULT_SHARES, KEY_BYTES, SPLITS, split_of_rows
from fitness.measures.targets import Answers, Scale, Target, targets_of
from fitness.measures.user_function import Scoring
from population.errors import BenchmarkError

if TYPE_CHECKING:
    from fitness.tables import Preparation, RawTable, TableSettings


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A data set with its objectives and its splits; immutable, its arrays are read-only.

    A row's split follows from BLAKE3 over the split seed and the bytes of the row's inputs alone, so that equal rows fall
    on one side and relabelling moves none.

    Attributes:
        inputs: channel name -> ``[R, *shape]``, float32 or an integer dtype.
        targets: what output channels should have said. A graph without the channel of a single target answers by its first.
        shares: expected parts of train, validation and held-out rows; they sum to 1.
        whole: where only the training rows are here, the splits' digests of the benchmark that they come from.
        scoring: a user's function that measures objectives too, in a jail of its own.
        keys: bytes ``[R, 32]`` that rows are split by in the place of their inputs: a table's rows are known by their raw
            cells, since what becomes of these is fitted on training rows. None: by their inputs.
        preparation: how the inputs were made of a table's raw rows; it stays where the benchmark was made.
    """

    name: str
    inputs: Mapping[str, Array]
    targets: tuple[Target, ...]
    objectives: tuple[Objective, ...]
    split_seed: int = 0
    shares: tuple[float, float, float] = DEFAULT_SHARES
    whole: Mapping[str, bytes] | None = None
    scoring: Scoring | None = None
    keys: npt.NDArray[np.uint8] | None = None
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        if min(self.shares) <= 0 or not math.isclose(sum(self.shares), 1.0, abs_tol=1e-9):
            raise BenchmarkError(f"shares must be three positive numbers that sum to 1, got {self.shares}")
        for split in SPLITS if self.whole is None else ():
            if len(self.rows(split)) == 0:
                raise BenchmarkError(
                    f"benchmark {self.name!r}: split {split!r} has no rows of {self.num_rows}; "
                    f"give more distinct rows or other shares than {self.shares}"
                )

    @staticmethod
    def from_arrays(
        inputs: Mapping[str, Any] | Any,
        targets: Answers,
        *,
        name: str = "arrays",
        objectives: Sequence[str] | None = None,
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
            targets: class numbers ``[R]`` from 0 (the channel "logits"), numbers ``[R]`` or ``[R, D]`` of a floating dtype
                (the channel "prediction"), a ``Target``, or several, one an output channel.
            objectives: what is measured; by default the usual metrics of the targets, FLOPs and bytes.
            skills: names of the classes; their numbers by default.
            gaps: channels in which NaN stands for a missing number.
            keys, preparation: as the attributes.

        Raises:
            BenchmarkError: rows, shapes, values, objectives, shares or classes do not fit together.

        >>> benchmark = Benchmark.from_arrays({"x": np.arange(40.0)[:, None]}, np.arange(40) % 2)
        >>> sum(len(benchmark.rows(split)) for split in SPLITS)
        40
        """
        wanted = targets_of(targets, skills)
        num_rows = len(wanted[0])
        data = checked_inputs(inputs, num_rows, gaps)
        if len(shares) != 3:
            raise BenchmarkError(f"shares must be three positive numbers that sum to 1, got {shares}")
        named = named_objectives(objectives if objectives is not None else default_objectives(wanted), wanted)
        return Benchmark(name, data, wanted, named, split_seed, shares, keys=keys, preparation=preparation)

    @staticmethod
    def from_table(table: Any, target: str, **settings: Any) -> Benchmark:
        """Returns a benchmark over the rows of a table, its preprocessing fitted on the training rows.

        Args:
            table: the path of a CSV or Parquet file, or columns by name (a mapping, a pandas or an Arrow table).
            target: the column to tell. settings: see ``fitness.tables.TableSettings``.

        Raises:
            InputError: the file cannot be read, or the table cannot be learned from; the message says what to do.
        """
        from fitness.tables import TableSettings, table_of

        return Benchmark.of_table(table_of(table), TableSettings(target=target, **settings))

    @staticmethod
    def of_table(table: RawTable, settings: TableSettings) -> Benchmark:
        """Returns the benchmark of a raw table, with its ``preparation``. Raises BenchmarkError as ``prepare_table``."""
        from fitness.tables import prepare_table
        from population.inputs.decoder import NUMBERS

        made = prepare_table(table, settings)
        return Benchmark.from_arrays(
            made.inputs,
            made.target,
            name=f"table.{settings.target}",
            objectives=settings.objectives,
            split_seed=settings.split_seed,
            shares=settings.shares,
            gaps=(NUMBERS,),
            keys=made.keys,
            preparation=made.preparation,
        )

    @property
    def num_rows(self) -> int:
        """Returns R, the rows of all splits together."""
        return len(self.targets[0])

    @property
    def num_outputs(self) -> int:
        """Returns S, the numbers that a candidate answers a row with."""
        return sum(target.size for target in self.targets)

    @functools.cached_property
    def skills(self) -> tuple[str, ...]:
        """The names of all skills; of several targets ``CHANNEL.SKILL``."""
        if len(self.targets) == 1:
            return self.targets[0].skills
        return tuple(f"{target.name}.{skill}" for target in self.targets for skill in target.skills)

    @property
    def principal(self) -> str:
        """The metric that floors and paired tests are about: accuracy or R2 of the first target.

        Without data the first number of the user's function stands there, which no test is about.
        """
        if self.scoring is not None and self.scoring.takes == "stack":
            return self.scoring.names[0]
        first = self.targets[0]
        return prefixed(self.targets, first, ALWAYS[first.kind][0])

    @functools.cached_property
    def scales(self) -> tuple[Scale, ...]:
        """What the training rows say of each target."""
        rows = self.rows("train")
        return tuple(Scale.of(target, target.values[rows]) for target in self.targets)

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of one row by channel."""
        return {name: tuple(array.shape[1:]) for name, array in self.inputs.items()}

    @property
    def size_bytes(self) -> int:
        """How large the inputs are."""
        return sum(array.nbytes for array in self.inputs.values())

    def num_samples(self, split: str) -> int:
        """Returns how many rows a split has."""
        return len(self.rows(split))

    def num_answers(self, split: str) -> int:
        """Returns the same: a candidate answers every row once."""
        return len(self.rows(split))

    def answers_of(self, outputs: Sequence[str]) -> tuple[tuple[str, int], ...]:
        """Returns the output channels that answer the targets, in their order, each with how many numbers it must hold.

        Raises:
            BenchmarkError: one of several targets has no channel of its name.
        """
        sizes = [target.size for target in self.targets]
        return tuple(zip(self.channels_of(outputs), sizes, strict=True))

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

    def targets_of(self, split: str) -> tuple[Array, ...]:
        """Returns every target's values of a split, new memory."""
        return tuple(target.values[self.rows(split)] for target in self.targets)

    def digest(self, split: str) -> bytes:
        """Returns 32 bytes that name the inputs and targets of a split."""
        return self._split_digests[split] if split in SPLITS else self._refuse(split)

    @functools.cached_property
    def digest_of_data(self) -> bytes:
        """Returns 32 bytes that name all rows and targets, whatever the splits."""
        return digest_of_arrays(self.inputs, self.targets)

    def measuring(self, names: Sequence[str]) -> Benchmark:
        """Returns the same benchmark, measuring these objectives too. Raises: BenchmarkError for one that is none."""
        known = [objective.name for objective in self.objectives]
        missing = [name for name in names if name not in known]
        if not missing:
            return self
        return replace(self, objectives=named_objectives([*known, *missing], self.targets, self.scoring))

    def scored_by(self, scoring: Scoring) -> Benchmark:
        """Returns the same benchmark with a user's function, which measures objectives too.

        A function of stacks sees no data: its objectives and the costs are all that is measured then.

        Raises: BenchmarkError where one of its names is that of a metric.
        """
        taken = [name for name in scoring.names if name in (*METRICS, *COSTS, LOSS)]
        if taken:
            raise BenchmarkError(f"fitness names: {taken[0]!r} is the name of a metric of ours: call it something else")
        known = COSTS if scoring.takes == "stack" else [objective.name for objective in self.objectives]
        objectives = named_objectives([*known, *scoring.names], self.targets, scoring)
        return replace(self, scoring=scoring, objectives=objectives)

    def training_only(self) -> Benchmark:
        """Returns what an operator may learn from: the training rows, and no other row or label.

        Digests are still those of the whole, so that a recipe that names the training rows finds them.

        Raises:
            BenchmarkError: when asked for rows of another split.
        """
        if self.whole is not None:
            return self
        rows = self.rows("train")
        inputs = {key: frozen(array[rows]) for key, array in self.inputs.items()}
        targets = tuple(target.take(rows) for target in self.targets)
        whole = dict(self._split_digests)
        return replace(self, inputs=MappingProxyType(inputs), targets=targets, whole=whole, keys=None, preparation=None)

    def with_shuffled_labels(self, seed: int) -> Benchmark:
        """Returns the same rows in the same splits with the targets dealt anew: what learns from it is a leak."""
        words = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)).random_raw(self.num_rows)
        order = np.argsort(words, kind="stable").astype(np.int64)
        targets = tuple(target.take(order) for target in self.targets)
        return replace(self, targets=targets, name=f"{self.name}-shuffled-{seed}")

    def channels_of(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Returns which of a block's output channels answer the targets, in their order.

        Raises:
            BenchmarkError: one of several targets has no channel of its name.
        """
        names = tuple(target.name for target in self.targets)
        missing = [name for name in names if name not in outputs]
        if missing and len(names) == 1:
            return (outputs[0],)
        if missing:
            raise BenchmarkError(
                f"benchmark {self.name!r} asks for output channels {', '.join(names)}; the graph has {', '.join(outputs)}"
            )
        return names

    def to_parts(self) -> tuple[dict[str, Any], list[bytes]]:
        """Returns a plain value and the arrays' bytes, from which ``from_parts`` makes an equal benchmark."""
        channels = [[key, array.dtype.str, list(array.shape)] for key, array in self.inputs.items()]
        value = {
            "name": self.name,
            "channels": channels,
            "targets": [target.header for target in self.targets],
            "objectives": [objective.name for objective in self.objectives],
            "split_seed": self.split_seed,
            "shares": list(self.shares),
            "whole": None if self.whole is None else dict(self.whole),
            "scoring": None if self.scoring is None else self.scoring.to_value(),
            "keys": None if self.keys is None else self.keys.tobytes(),
        }
        return value, [
            array.tobytes() for array in (*self.inputs.values(), *(target.values for target in self.targets))
        ]

    @staticmethod
    def from_parts(value: Mapping[str, Any], parts: Sequence[bytes]) -> Benchmark:
        """Returns the benchmark of ``to_parts``."""
        count = len(value["channels"])
        data = {
            key: frozen(np.frombuffer(part, dtype=np.dtype(dtype)).reshape(shape))
            for (key, dtype, shape), part in zip(value["channels"], parts[:count], strict=True)
        }
        targets = tuple(
            Target.from_header(header, part) for header, part in zip(value["targets"], parts[count:], strict=True)
        )
        first, second, third = value["shares"]
        scoring = None if value["scoring"] is None else Scoring.from_value(value["scoring"])
        return Benchmark(
            name=value["name"],
            inputs=MappingProxyType(data),
            targets=targets,
            objectives=named_objectives(value["objectives"], targets, scoring),
            split_seed=value["split_seed"],
            shares=(first, second, third),
            whole=value["whole"],
            scoring=scoring,
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
        return {
            split: digest_of_arrays(self.inputs_of(split), [target.take(self.rows(split)) for target in self.targets])
            for split in SPLITS
        }

    def _row_texts(self) -> Iterator[bytes]:
        """Yields what each row is known by: its key, or its inputs' names and bytes."""
        if self.keys is not None:
            yield from (key.tobytes() for key in self.keys)
            return
        channels = [(key.encode() + b"\0", self.inputs[key]) for key in sorted(self.inputs)]
        for row in range(self.num_rows):
            yield b"".join(key + array[row].tobytes() for key, array in channels)

    def _refuse(self, split: str) -> bytes:
        raise BenchmarkError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
