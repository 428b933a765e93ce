"""What a campaign accepts from outside, and what it asks of its shell.

Nouns: *event*, *work*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fitness.work.work_unit import UnitResult, WorkUnit


@dataclass(frozen=True)
class UnitDone:
    """A work unit's result came back."""

    result: UnitResult


@dataclass(frozen=True)
class Measured:
    """The entropies in nats of the tensors of parents, by event and tensor name."""

    entropies: Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class Clock:
    """So many seconds have passed since the campaign began; the only way in which time enters."""

    seconds: float


@dataclass(frozen=True)
class Stop:
    """Somebody asked for the search to end after the current batch."""

    reason: str


@dataclass(frozen=True)
class Published:
    """The champion stands in the block store; block is None where there was no champion."""

    champion: int | None
    block: str | None
    size_bytes: int


@dataclass(frozen=True)
class Continued:
    """Nothing is waited for: the oldest batch is complete (one of repeats alone is so at once) and may be told."""


@dataclass(frozen=True)
class Marked:
    """The campaign's state is to be recorded: "paused", "stopped" or "failed" by a driver that ends, "running" by one that
    goes on. It changes nothing of what happens next."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Extended:
    """Somebody asked a finished campaign to go on for so many more evaluations, or generations."""

    evaluations: int | None = None
    generations: int | None = None


@dataclass(frozen=True)
class ContinuedInexactly:
    """Somebody allowed the campaign to go on in another environment. digests: rows that are held and came out with other
    bits there, by event."""

    environment: str
    digests: Mapping[int, bytes]


Event = UnitDone | Measured | Clock | Stop | Published | Continued | Marked | Extended | ContinuedInexactly


@dataclass(frozen=True)
class Put:
    """Make these bytes readable by recipes."""

    digest: bytes
    data: bytes


@dataclass(frozen=True)
class Judge:
    """Materialise and judge a unit."""

    unit: WorkUnit


@dataclass(frozen=True)
class Measure:
    """Compute the entropies of these rows (event -> weights digest)."""

    rows: Mapping[int, bytes]


@dataclass(frozen=True)
class Retain:
    """Hold these rows, forget all others."""

    digests: tuple[bytes, ...]


@dataclass(frozen=True)
class Keyframe:
    """Write these rows to the store, so that they survive any environment."""

    digests: tuple[bytes, ...]


@dataclass(frozen=True)
class Publish:
    """Put the champion into the block store with these tiers; nothing where there is none."""

    champion: int | None
    digest: bytes | None
    tiers: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Continue:
    """Say ``Continued`` next: one batch is told a turn, so that a replay meets the same turns as the run."""


Work = Put | Judge | Measure | Retain | Keyframe | Publish | Continue
