"""Power lost at any system call of the store and the heads: what was stored is there, and heads are an exact prefix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from population.errors import NotFound
from population.files.local_files import FileSystem, LocalFiles, MemoryFiles
from population.store.heads import Heads
from population.store.objects import BlockStore
from tests.population.simulated_disk import Killed, SimulatedOs, in_memory, simulated
from tests.population.store_samples import PlainBlock

HOME = Path("/home")
BLOCKS = [PlainBlock(f"block {i}", (bytes([i]) * 700, b"shared" * 100)) for i in range(6)]


class Promotions:
    """Blocks are stored and promoted, one after the other, by processes that are killed or lose power."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))
        self._stored = self._stored_attempted = self._promoted = self._promoted_attempted = 0
        self._calls_left = 0
        self._disk = SimulatedOs(self._rng, self._before)
        self._disk.restore({HOME: None})
        self.states: set[int] = set()

    def run(self) -> None:
        while self._promoted < len(BLOCKS):
            self._calls_left = int(self._rng.integers(1, 120))
            try:
                with simulated(self._disk):
                    self._live(LocalFiles())
            except Killed:
                if self._rng.integers(2):
                    self._disk.restore(self._disk.crash_state())

    def _live(self, files: FileSystem) -> None:
        store, heads = BlockStore(files, HOME / "store"), Heads(files, HOME, HOME / "keys")
        for index in range(self._promoted, len(BLOCKS)):
            assert store.put(BLOCKS[index]) == BLOCKS[index].id
            self._stored = max(self._stored, index + 1)
            self._promoted_attempted = index + 1
            heads.advance("digits", BLOCKS[index].id, {}, index, decided="2030-01-02T03:04:05Z")
            self._promoted = index + 1

    def _before(self, name: str) -> None:
        if self._calls_left == 0:
            raise Killed
        for _ in range(3):
            self._check()
        self._calls_left -= 1

    def _check(self) -> None:
        state = self._disk.crash_state()
        key = hash((frozenset(state.items()), self._stored, self._promoted))
        if key in self.states:
            return
        self.states.add(key)
        files = in_memory(state)
        store, heads = BlockStore(files, HOME / "store"), Heads(files, HOME, HOME / "keys")
        for block in BLOCKS[: self._stored]:
            assert store.load(block.id, PlainBlock.from_manifest) == block
        for cid in store.list_objects():
            store.get_object(cid)
        promoted = _history(heads)
        assert promoted == [block.id for block in BLOCKS[: len(promoted)]]
        assert self._promoted <= len(promoted) <= self._promoted_attempted
        for cid in promoted:  # a head never names what is not there, whole
            store.load(cid, PlainBlock.from_manifest)


def _history(heads: Heads) -> list[str]:
    try:
        return [head.block for head in heads.history("digits")]
    except NotFound:
        return []


def _lose_power(count: int) -> int:
    num_states = seed = 0
    while num_states < count:
        promotions = Promotions(seed)
        promotions.run()
        num_states, seed = num_states + len(promotions.states), seed + 1
    return num_states


def test_after_power_loss_what_was_stored_and_promoted_is_there(scaled, told):
    told(f"{_lose_power(scaled(100))} distinct crash states, 0 violations")


@pytest.mark.slow
def test_after_any_of_many_power_losses_what_was_stored_and_promoted_is_there(scaled, told):
    told(f"{_lose_power(scaled(5_000))} distinct crash states, 0 violations")


def test_a_simulated_disk_without_a_crash_is_a_disk():
    disk, memory = SimulatedOs(np.random.Generator(np.random.Philox(0))), MemoryFiles()
    disk.restore({HOME: None})
    with simulated(disk):
        for files in (LocalFiles(), memory):
            store = BlockStore(files, HOME / "store")
            for block in BLOCKS:
                store.put(block)
    found = disk.crash_state()
    assert {path: data for path, data in found.items() if data is not None} == memory._files
