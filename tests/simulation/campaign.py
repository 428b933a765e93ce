"""One campaign under one seed: drivers begin it, die, and resume it, until it is done as if nothing had happened.

Nouns: *life* (one driver's process, from its start to its death or end), *kind* (a strategy with its small config),
*reference* (the campaign that nothing happened to).
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from evolve.config.campaign import check_config
from evolve.driver import launch as launching
from evolve.driver.loop import Interrupted
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.recipes import materialise as materialising
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.worker import failed_result
from fitness.work.work_unit import UnitResult, WorkUnit
from population.clock import ManualClock
from population.errors import EvaluatorFailed, Locked, StorageError
from population.files.local_files import FileSystem, LocalFiles
from population.lineage.format.records import Commit
from population.lineage.journal.writer import SEAL_ROWS, LineageWriter
from tests.simulation.disk import Disk
from tests.simulation.oracle import Doom, Oracle
from tests.simulation.workers import SimulatedEvaluator
from tests.simulation.world import Crash, Violation, World

SAME = ("population", "lineage", "champion")
MAX_LIVES = 40
#: Homes lie in memory where the machine has such a folder.
SHARED_MEMORY = Path("/dev/shm")
BASE: dict[str, Any] = {
    "name": "sim",
    "benchmark": {"dataset": "digits"},
    "graph": {
        "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}},
        "symbols": {"hidden": 4},
        "nodes": [
            {"name": "flat", "op": "flatten", "inputs": ["image"]},
            {"name": "fc", "op": "linear", "inputs": ["flat"], "out": "hidden"},
            {"name": "act", "op": "relu", "inputs": ["fc"]},
            {"name": "head", "op": "linear", "inputs": ["act"], "out": 10},
        ],
        "outputs": {"logits": "head"},
    },
    "objectives": ["accuracy", "flops"],
    "strategy": {"kind": "ga", "population": 5},
    "operators": {"gaussian": {}, "uniform": {}, "mean": {}, "entropy": {}},
    "exploration": 1.0,
    "stop": {"generations": 3},
    "keyframe": 2,
}
KINDS: dict[str, dict[str, Any]] = {
    "ga": {"tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "distil": {"steps": 2, "batch": 32}, "finalists": 2}},
    "openai_es": {
        "strategy": {"kind": "openai_es", "population": 4},
        "objectives": ["cross_entropy"],
        "operators": {},
    },
    "steady": {
        "strategy": {"kind": "steady", "population": 5, "settings": {"batch": 2, "window": 3}},
        "stop": {"generations": 2},
    },
}


@dataclass(frozen=True)
class Outcome:
    """What became of a seed. counts: what was drawn, by name."""

    seed: int
    kind: str
    counts: Mapping[str, int]
    exhausted: Mapping[int, str]


@cache
def plan_of(kind: str) -> Plan:
    """Returns the plan of a kind; its tiles are narrow, so that a batch is several units."""
    plan = make_plan(check_config({**BASE, **KINDS[kind]}), sandbox_level="none")
    return replace(plan, kernel=replace(plan.kernel, candidates=2))


@cache
def oracle_of(kind: str) -> Oracle:
    """Returns what answers the units of a kind."""
    return Oracle(plan_of(kind).benchmark)


class Undisturbed:
    """An ``Evaluator`` that answers at once. exhausted: what it says of units that nobody could judge."""

    def __init__(self, kind: str, exhausted: Mapping[int, str]) -> None:
        self._plan, self._oracle, self._exhausted = plan_of(kind), oracle_of(kind), exhausted
        self._objects: dict[bytes, bytes] = {}
        self._units: list[WorkUnit] = []
        self.sandbox_level = "none"
        self.fetch = self._objects.__getitem__

    def put(self, digest: bytes, data: bytes) -> None:
        """Holds an object."""
        self._objects[digest] = data

    def retain(self, digests: object) -> None:
        """Keeps everything."""

    def submit(self, unit: WorkUnit) -> None:
        """Queues a unit."""
        self._units.append(unit)

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        """Returns the result of the oldest unit."""
        unit = self._units.pop(0)
        if self._exhausted.get(unit.unit_id):
            return [failed_result(unit, self._plan.benchmark, "infra_failure", self._exhausted[unit.unit_id])]
        result, rows = self._oracle.answer(unit, self._objects.__getitem__)
        self._objects.update(rows)
        return [result]

    def close(self) -> None:
        """Has nothing to end."""


@cache
def reference(kind: str, exhausted: tuple[tuple[int, str], ...] = ()) -> dict[str, Any]:
    """Returns the hashes of the campaign that nothing happened to, but that these units could not be judged."""
    with _place() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda plan: Undisturbed(kind, dict(exhausted)))
        patch.setattr(materialising, "materialise", oracle_of(kind).make)
        summary = _launch(kind, Home.create(root), ManualClock(), threading.Event())
    return {name: summary[name] for name in SAME}


class Campaign:
    """A campaign under a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._world = World(seed)
        rng = self._world.rng
        self.kind = rng.choice(list(KINDS))
        self._doom = Doom(rng.randrange(12) if rng.random() < 0.05 else -1)
        self._num_workers = rng.randint(1, 4)
        self._exhausted: dict[int, str] = {}
        self._acknowledged = -1
        self._attempted = -1
        self._disk: Disk | None = None
        self._evaluator: SimulatedEvaluator | None = None

    def run(self) -> Outcome:
        """Lives until the campaign is done. Raises Violation where something came out otherwise than it must."""
        with _place() as root, pytest.MonkeyPatch.context() as patch:
            self._root = root
            self._patch(patch)
            summary = self._live(root)
            self._check_end(root, summary)
        exhausted = {unit: detail for unit, detail in self._exhausted.items() if detail}
        expected = reference(self.kind, tuple(sorted(exhausted.items())))
        found = {name: summary[name] for name in SAME}
        if found != expected:
            raise Violation(f"found {found}, the undisturbed campaign has {expected}")
        return Outcome(self.seed, self.kind, dict(self._world.counts), exhausted)

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        commit_of = LineageWriter.commit

        def commit(writer: LineageWriter, found: Commit) -> None:
            self._check_commit(found)
            commit_of(writer, found)
            self._acknowledged = found.step

        seal_rows = self._world.rng.choice([4, 12, SEAL_ROWS, SEAL_ROWS, SEAL_ROWS])
        self._world.counts["campaigns that seal as they go"] += seal_rows < SEAL_ROWS
        patch.setattr(LineageWriter, "commit", commit)
        patch.setattr(launching, "LineageWriter", partial(LineageWriter, seal_rows=seal_rows))
        patch.setattr(
            Home, "config_of", lambda home, handle: plan_of(self.kind).config
        )  # parsing it is no part of this
        patch.setattr(Home, "files", property(lambda home: self._disk))
        patch.setattr(launching, "make_evaluator", self._make_evaluator)
        patch.setattr(materialising, "materialise", oracle_of(self.kind).make)

    def _live(self, root: Path) -> dict[str, Any]:
        for _ in range(MAX_LIVES):
            self._begin_life()
            try:
                return _launch(self.kind, Home.create(root), self._world, self._interrupted)
            except Crash:
                self._world.counts["crashed lives"] += 1
            except Interrupted:
                self._world.counts["interruptions"] += 1
            except StorageError:
                self._world.counts["lives ended by the disk"] += 1
            except EvaluatorFailed as error:
                if "do not start" not in str(error):
                    raise
                self._world.counts["lives without workers"] += 1
            finally:
                self._end_life()
        raise Violation(f"not done after {MAX_LIVES} lives")

    def _begin_life(self) -> None:
        world, weather, rng = self._world, self._world.weather, self._world.rng
        world.reboot()
        world.counts["lives"] += 1
        is_mortal = world.counts["crashed lives"] < weather.crashes
        span = rng.choice([12, 60])
        crash_at = rng.randrange(span) if is_mortal and rng.random() < 0.7 else None
        self._crash_call = rng.randrange(2 * span) if is_mortal and crash_at is None else None
        is_refused = world.counts["lives ended by the disk"] < weather.disk_errors
        inner: FileSystem = LocalFiles()
        self._disk = Disk(inner, world, crash_at, rng.randrange(40) if is_refused else None)
        self._interrupted = threading.Event()
        if world.counts["interruptions"] < weather.interruptions:
            world.later(rng.uniform(0.0, 10.0) * rng.choice([1, 10]), self._interrupted.set)

    def _end_life(self) -> None:
        if self._evaluator is not None:
            self._exhausted |= self._evaluator.exhausted
            self._evaluator = None

    def _make_evaluator(self, plan: Plan) -> SimulatedEvaluator:
        assert self._disk is not None
        self._evaluator = SimulatedEvaluator(
            self._world,
            self._disk,
            oracle_of(self.kind),
            plan.benchmark,
            num_workers=self._num_workers,
            doom=self._doom,
            level="none",
            crash_at=self._crash_call,
            on_wait=self._rival,
        )
        return self._evaluator

    def _rival(self) -> None:
        """Now and then somebody starts a second driver of the same campaign, which is refused."""
        if self._world.chance(0.01):
            self._world.counts["rivals"] += 1
            assert self._disk is not None
            home = Home(self._root)
            with suppress(Locked):
                LineageWriter(LocalFiles(), home.root, home.campaigns()[0], self._world)
                raise Violation("a second writer was let in")

    def _check_commit(self, commit: Commit) -> None:
        if commit.step <= self._acknowledged:
            raise Violation(f"step {commit.step} is committed again: it was acknowledged and lost")
        if commit.step > self._attempted + 1:
            raise Violation(f"step {commit.step} is committed, step {self._attempted + 1} never was")
        self._attempted = commit.step

    def _check_end(self, root: Path, summary: Mapping[str, Any]) -> None:
        home = Home.open(root)
        if len(home.campaigns()) != 1:
            raise Violation(f"one campaign became {home.campaigns()}")
        if home.state_of(summary["campaign"]) not in ("done", "failed"):
            raise Violation(f"its state is {home.state_of(summary['campaign'])} after its end")


def _launch(kind: str, home: Home, clock: Any, interrupted: threading.Event) -> dict[str, Any]:
    return launching.launch(
        plan_of(kind), home, progress=lambda _: None, tracker=NullTracker(), interrupted=interrupted, clock=clock
    )


@contextmanager
def _place() -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix="evolve-simulation-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    try:
        yield Path(folder) / "home"
    finally:
        shutil.rmtree(folder)
