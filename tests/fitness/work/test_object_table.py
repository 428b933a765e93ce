from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fitness.work.object_table import ObjectTable
from fitness.work.work_unit import WorkUnit
from population.errors import EvaluatorFailed
from tests.fitness.toys import toy_graph, unit_of

DIGESTS = [bytes([n]) * 32 for n in range(6)]


def unit_with(parents: list[bytes], inputs: list[bytes] | None = None) -> WorkUnit:
    return unit_of(toy_graph(), seeds=[1], parents=parents, inputs=inputs or [])


class AgainstAPlainModel(RuleBasedStateMachine):
    """The table holds what was put and is wanted or needed, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.table: ObjectTable[bytes] = ObjectTable()
        self.wanted: set[bytes] = set()
        self.held: set[bytes] = set()
        self.units: list[WorkUnit] = []

    def model_sweep(self) -> None:
        needed = {digest for unit in self.units for digest in unit.parents}
        self.held &= self.wanted | needed

    @rule(digest=st.sampled_from(DIGESTS))
    def put(self, digest: bytes) -> None:
        self.table.put(digest, digest)
        self.held.add(digest)
        self.wanted.add(digest)

    @rule(digests=st.sets(st.sampled_from(DIGESTS)))
    def retain(self, digests: set[bytes]) -> None:
        self.table.retain(digests)
        self.wanted = digests & self.held
        self.model_sweep()

    @rule(parents=st.lists(st.sampled_from(DIGESTS), max_size=3, unique=True))
    def pin(self, parents: list[bytes]) -> None:
        unit = unit_with(parents)
        if set(parents) <= self.held:
            self.table.pin(unit)
            self.units.append(unit)
        else:
            with pytest.raises(EvaluatorFailed):
                self.table.pin(unit)

    @rule()
    def release(self) -> None:
        if self.units:
            self.table.release(self.units.pop(0))
            self.model_sweep()

    @invariant()
    def holds_the_same(self) -> None:
        assert {digest for digest in DIGESTS if digest in self.table} == self.held


TestAgainstAPlainModel = AgainstAPlainModel.TestCase


def test_a_splits_digest_names_no_object_and_is_not_needed() -> None:
    table: ObjectTable[bytes] = ObjectTable()
    table.pin(unit_with([], [b"s" * 32]))
    assert b"s" * 32 not in table
