"""Power lost at any system call: every acknowledged commit is there, nothing is doubled, and the campaign goes on."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from population.clock import ManualClock
from population.errors import NotFound, StorageError
from population.files.local_files import LocalFiles, MemoryFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.format.frames import COMMIT, intact_frames
from population.lineage.journal.segments import journal_path, read_manifest
from tests.population.lineage.lineage_samples import flat, sample_commit
from tests.population.lineage.remembered import frames_are_decoded_once
from tests.population.simulated_disk import Killed, SimulatedOs, in_memory, simulated

HANDLE, HOME, STEPS = "digits-1", Path("/home"), 7
State = dict[Path, bytes | None]


@cache
def _commit(step: int, births: int):
    return sample_commit(step, births=births)


@cache
def _flat(step: int, births: int):
    return flat([_commit(step, births)])[0]


@cache
def _content(births: int) -> str:
    files = MemoryFiles()
    with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
        for step in range(STEPS):
            writer.commit(_commit(step, births))
    return LineageReader(files, HOME).content_hash(HANDLE)


class Checker:
    """Recovers crash states and says what is wrong with them; equal states are looked at once."""

    def __init__(self) -> None:
        self._seen: set[tuple[bytes, int]] = set()
        self._histories: set[tuple[object, ...]] = set()
        self.num_states = 0

    def check(self, state: State, acknowledged: int, attempted: int, births: int) -> None:
        digest = blake3()
        for path, data in sorted(state.items()):
            digest.update(str(path).encode() + b"\0" + (b"" if data is None else blake3(data).digest()) + b"\0")
        key = (digest.digest() + bytes([births]), acknowledged)
        if key in self._seen:
            return
        self._seen.add(key)
        self.num_states += 1
        files = in_memory(state)
        shown = _next_step(files)
        with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
            reached = writer.next_step
        assert acknowledged <= shown == reached <= attempted
        history = (births, *_history(files))
        if history not in self._histories:
            self._check_history(files, reached, births)
            self._histories.add(history)

    def content(self, births: int) -> str:
        """The content hash of the uninterrupted campaign."""
        return _content(births)

    def _check_history(self, files: MemoryFiles, reached: int, births: int) -> None:
        reader = LineageReader(files, HOME)
        assert flat(reader.commits(HANDLE)) == [_flat(s, births) for s in range(reached)]
        with LineageWriter(files, HOME, HANDLE, ManualClock()) as writer:
            for step in range(reached, STEPS):
                writer.commit(_commit(step, births))
        assert reader.content_hash(HANDLE) == _content(births)


def _next_step(files: MemoryFiles) -> int:
    try:
        return LineageReader(files, HOME).next_step(HANDLE)
    except NotFound:
        return 0


def _history(files: MemoryFiles) -> tuple[object, ...]:
    """What decides what a recovered lineage holds: its manifest, its segments and the commits in its journal."""
    manifest = read_manifest(files, HOME, HANDLE)
    folder = HOME / "lineage" / HANDLE
    segments = [blake3(files.read_bytes(folder / segment.file)).digest() for segment in manifest.segments]
    path = journal_path(HOME, HANDLE, manifest.journal)
    frames = [blake3(f.payload).digest() for f in intact_frames(files.read_bytes(path), "") if f.kind == COMMIT]
    return (manifest.journal, *segments, b"commits", *frames)


class Campaign:
    """A workload on a simulated disk: lives of a writer that end by closing, by kill -9 or by power loss.

    In some lives one system call fails, or all from one on; a sync that fails loses a part of what it should have written.
    """

    def __init__(self, seed: int, checker: Checker, draws: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))
        self._checker, self._draws = checker, draws
        self._births = int(self._rng.choice([1, 3, 8, 24]))
        self._acknowledged = self._attempted = 0
        self._calls_left = 0
        self._failing = range(0)
        self._disk = SimulatedOs(self._rng, self._before)
        self._disk.restore({HOME: None})

    def run(self) -> None:
        while self._acknowledged < STEPS:
            self._calls_left = int(self._rng.integers(1, 150))
            first = int(self._rng.integers(150))
            self._failing = range(first, int(self._rng.choice([first, first, first - 1, -1])), -1)
            try:
                with simulated(self._disk):
                    self._live()
            except Killed:
                if self._rng.integers(2):
                    self._disk.restore(self._disk.crash_state())
        self._look()

    def _live(self) -> None:
        with suppress(StorageError), LineageWriter(LocalFiles(), HOME, HANDLE, ManualClock()) as writer:
            assert self._acknowledged <= writer.next_step <= self._attempted
            self._acknowledged = writer.next_step  # a campaign would go on from here
            for step in range(writer.next_step, STEPS):
                self._attempted = step + 1
                self._commit(writer, step)
                self._acknowledged = step + 1
                if not self._rng.integers(3):
                    with suppress(StorageError):
                        writer.seal()
                if not self._rng.integers(4):
                    return

    def _commit(self, writer: LineageWriter, step: int) -> None:
        try:
            writer.commit(_commit(step, self._births))
        except StorageError:
            writer.commit(_commit(step, self._births))

    def _before(self, name: str) -> None:
        if self._calls_left == 0:  # a dead process does nothing on its way out
            raise Killed
        self._look()
        self._calls_left -= 1
        if self._calls_left in self._failing:
            code = int(self._rng.choice([errno.EIO, errno.ENOSPC]))
            raise OSError(code, os.strerror(code))

    def _look(self) -> None:
        for _ in range(self._draws):
            self._checker.check(self._disk.crash_state(), self._acknowledged, self._attempted, self._births)


def _lose_power(count: int) -> Checker:
    checker, seed = Checker(), 0
    with frames_are_decoded_once():
        while checker.num_states < count:
            Campaign(seed, checker, draws=4).run()
            seed += 1
    return checker


def test_after_power_loss_every_acknowledged_commit_is_there_and_the_log_goes_on(scaled, told):
    told(f"{_lose_power(scaled(500)).num_states} distinct crash states, 0 violations")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_after_any_of_many_power_losses_every_acknowledged_commit_is_there(scaled, told):
    told(f"{_lose_power(scaled(100_000)).num_states} distinct crash states, 0 violations")
