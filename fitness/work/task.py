"""What candidates are judged on, whatever it is made of: rows of a data set, or episodes of a simulator.

Nouns: a *task* (either of the two), a *sample* (a row, or an episode), an *answer* (what a candidate computes for one row, or
at one step of an episode).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fitness.measures.metrics import Objective

if TYPE_CHECKING:
    from fitness.measures.user_function import Scoring
    from fitness.tables import Preparation


class Task(Protocol):
    """What a campaign knows of a task; what it is made of is known to whoever judges.

    Obligations: immutable; what ``to_parts`` gives makes an equal task in any process, with equal digests. A *split* is
    "train", "validation" or "heldout".
    """

    @property
    def name(self) -> str:
        """How people call it."""

    @property
    def split_seed(self) -> int:
        """What decides which samples are in which split."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is measured of every candidate."""

    @property
    def skills(self) -> tuple[str, ...]:
        """The names of the parts that have a score of their own."""

    @property
    def principal(self) -> str:
        """The objective that floors and paired tests are about."""

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of one answer's input, by channel."""

    @property
    def size_bytes(self) -> int:
        """How much data each worker is given."""

    @property
    def digest_of_data(self) -> bytes:
        """32 bytes that name what it is made of, whatever the splits."""

    @property
    def scoring(self) -> Scoring | None:
        """A user's function that measures objectives too."""

    @property
    def preparation(self) -> Preparation | None:
        """How a table's raw rows became its inputs; None for what is no table."""

    def digest(self, split: str) -> bytes:
        """Returns 32 bytes that name the samples of a split."""

    def num_samples(self, split: str) -> int:
        """Returns how many samples a split has."""

    def num_answers(self, split: str) -> int:
        """Returns how many answers a candidate gives for a split, at most: what its cost is counted by."""

    def answers_of(self, outputs: Sequence[str]) -> tuple[tuple[str, int], ...]:
        """Returns which of a graph's output channels are looked at, each with how many numbers it must hold.

        Raises:
            BenchmarkError: a channel is missing.
        """

    def training_only(self) -> Task:
        """Returns what an operator may learn from, with the digests of the whole."""

    def to_parts(self) -> tuple[dict[str, Any], list[bytes]]:
        """Returns a plain value and byte strings; ``fitness.benchmarks.from_parts.task_from_parts`` makes an equal task."""
