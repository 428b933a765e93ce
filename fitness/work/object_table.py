"""Objects by digest, as an evaluator holds them for its workers, and which of them unfinished units still need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from fitness.work.work_unit import UnitResult, WorkUnit
from population.errors import EvaluatorFailed

MAX_TRIES = 3

Held = TypeVar("Held")


class ObjectTable(Generic[Held]):
    """A table of held objects: bytes, or a reference to where they lie.

    What an unfinished unit needs stays, also when ``retain`` does not name it, until the unit is released.
    """

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}
        self._wanted: set[bytes] = set()
        self._pins: Counter[bytes] = Counter()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._held

    def __getitem__(self, digest: bytes) -> Held:
        return self._held[digest]

    def put(self, digest: bytes, held: Held) -> None:
        """Holds an object; a second one under the same digest is dropped."""
        self._held.setdefault(digest, held)
        self._wanted.add(digest)

    def retain(self, digests: Iterable[bytes]) -> list[bytes]:
        """Keeps these and what unfinished units need; returns the digests that were forgotten."""
        self._wanted = set(digests)
        gone = [digest for digest in self._held if digest not in self._wanted and not self._pins[digest]]
        for digest in gone:
            del self._held[digest]
        return gone

    def pin(self, unit: WorkUnit) -> None:
        """Keeps what a unit needs until it is released.

        Raises:
            EvaluatorFailed: a parent of the unit is not held.
        """
        missing = [digest.hex()[:16] for digest in unit.parents if digest not in self._held]
        if missing:
            raise EvaluatorFailed(
                f"unit {unit.unit_id} names parents that are not held: {', '.join(missing)}; put or keep them first"
            )
        self._pins.update(self.needs(unit))

    def release(self, unit: WorkUnit) -> None:
        """Ends a unit's need; what only it needed is forgotten."""
        for digest in self.needs(unit):
            self._pins[digest] -= 1
            if self._pins[digest] <= 0:
                del self._pins[digest]
                if digest not in self._wanted:
                    self._held.pop(digest, None)

    def needs(self, unit: WorkUnit) -> Iterator[bytes]:
        """Yields the held objects that a unit reads, each once; a split's digest names no object."""
        for digest in dict.fromkeys((*unit.parents, *unit.inputs)):
            if digest in self._held:
                yield digest

    def clear(self) -> None:
        """Forgets everything."""
        self._held.clear()
        self._wanted.clear()
        self._pins.clear()


class Holdings:
    """Which objects a worker with a memory of its own holds: what must travel to it, and what it may forget."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._forget: set[bytes] = set()

    def pack(self, digests: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Returns which of these objects must travel, and what the worker forgets before; both count as done."""
        new, forget = [digest for digest in digests if digest not in self._known], sorted(self._forget)
        self._known.update(new)
        self._forget = set()
        return new, forget

    def made(self, digests: Iterable[bytes]) -> None:
        """Notes objects that the worker made itself; what it was to forget before and has made again stays."""
        self._known.update(digests)
        self._forget.difference_update(digests)

    def drop(self, gone: Iterable[bytes]) -> None:
        """Notes objects that nobody needs any more."""
        dropped = self._known.intersection(gone)
        self._known -= dropped
        self._forget |= dropped


def missing_object(digest: bytes) -> EvaluatorFailed:
    """Returns the error for an object that a unit reads and nobody put."""
    return EvaluatorFailed(f"object {digest.hex()[:16]} was neither put nor kept before the unit that reads it")


def kept_rows(unit: WorkUnit, result: UnitResult, rows: Iterable[bytes | None]) -> Iterator[tuple[bytes, bytes]]:
    """Yields (digest, row bytes) of the children that must stay available."""
    if unit.keep:
        for digest, row in zip(result.digests, rows, strict=True):
            if digest is not None and row is not None:
                yield digest, row
