"""The same config and seed give the same campaign on any number of workers, with Ray or without, and when workers die."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from evolve import operators
from evolve.campaign.lineage_rows import population_id
from evolve.campaign.summary import Progress
from evolve.driver import launch as launching
from evolve.driver.evaluators import make_evaluator
from evolve.home.home import Home
from evolve.planning.plan import Plan
from evolve.recipes.recipe import individual_id
from fitness.benchmarks.benchmark import Benchmark
from fitness.evaluators.child_processes import ProcessEvaluator
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.work.work_unit import UnitResult, WorkUnit
from population.clock import ManualClock
from population.files.local_files import MemoryFiles
from population.lineage.format.records import Commit
from population.lineage.journal.reader import LineageReader
from population.lineage.journal.writer import LineageWriter
from tests.evolve import small, whole

GOLDEN = Path(__file__).parents[2] / "goldens" / "lineage-small.json"


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary that every other way to compute the campaign must come to."""
    return whole.run_in(tmp_path_factory.mktemp("one") / "home", "run.workers=1")


@pytest.mark.slow  # the program with two workers does so quickly, below
def test_two_workers_give_what_one_gives(one_worker: dict[str, Any], tmp_path: Path) -> None:
    assert whole.hashes(whole.run_in(tmp_path / "h", "run.workers=2")) == whole.hashes(one_worker)


STEADY = ("strategy.kind=steady", "strategy.settings.batch=2", "strategy.settings.window=3")


@pytest.mark.slow
def test_the_steady_state_is_exact_on_any_number_of_workers(tmp_path: Path) -> None:
    """Two workers finish batches in another order than one; what is asked next may not follow from it."""
    found = [whole.run_in(tmp_path / str(n), f"run.workers={n}", *STEADY) for n in (1, 2)]
    assert whole.hashes(found[0]) == whole.hashes(found[1])
    assert whole.facts_of(tmp_path / "1") == whole.facts_of(tmp_path / "2")


def test_ray_gives_what_child_processes_give(
    one_worker: dict[str, Any], tmp_path: Path, ray_session: ModuleType
) -> None:
    assert ray_session.is_initialized()
    found = whole.run_in(tmp_path / "h", "run.workers=2", 'run.address=""')
    assert whole.hashes(found) == whole.hashes(one_worker)
    assert ray_session.is_initialized()  # a Ray that was there before is left running


def test_the_program_gives_what_a_call_gives_whatever_the_hash_seed(one_worker: dict[str, Any], tmp_path: Path) -> None:
    ended = whole.call(whole.run_command(tmp_path / "h", "--workers", "2"), PYTHONHASHSEED="4711", OMP_NUM_THREADS="2")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert whole.hashes(summary) == whole.hashes(one_worker)
    clocks = ("seconds", "home", "already_done", "again")
    assert {k: v for k, v in summary.items() if k not in clocks} == {
        k: v for k, v in one_worker.items() if k not in clocks
    }


def test_another_seed_gives_another_population_lineage_and_champion(one_worker: dict[str, Any], tmp_path: Path) -> None:
    other = whole.hashes(whole.run_in(tmp_path / "h", "seed=7"))
    assert all(other[name] != one_worker[name] for name in whole.SAME)


@pytest.mark.slow  # quickly: tests/evolve/driver/test_kills.py
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_killed_at_work_change_nothing_but_an_incident(
    one_worker: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    evaluators: list[ProcessEvaluator] = []
    killed: list[int] = []

    def held(plan: Plan) -> ProcessEvaluator:
        made = make_evaluator(plan)
        assert isinstance(made, ProcessEvaluator)
        evaluators.append(made)
        return made

    def kill_one(progress: Progress) -> None:
        """Kills a worker, the first if it is not dead yet, once in each of three generations."""
        if progress.generation == len(killed) + 1 and len(killed) < 3:
            killed.append(next(pid for pid in evaluators[0].worker_pids if pid not in killed))
            os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(launching, "make_evaluator", held)
    found = whole.run_in(tmp_path / "h", f"run.workers={workers}", progress=kill_one)
    assert len(set(killed)) == 3
    assert whole.hashes(found) == whole.hashes(one_worker)
    incidents = [i for c in Home.open(tmp_path / "h").lineage_reader().commits("digits") for i in c.incidents]
    reasons = [incident["reason"] for incident in incidents if incident["kind"] == "retry"]
    assert 1 <= reasons.count("the worker died") <= 3  # one killed while it waits has nothing to do again


# ---- a golden: everything here has the same bits on every machine -------------------------------------------------------


class ByDigest:
    """An evaluator whose scores follow from the weights digest alone: measured ones may differ in a last bit elsewhere."""

    sandbox_level = "none"

    def __init__(self, inner: InProcessEvaluator) -> None:
        self._inner = inner

    def put(self, digest: bytes, data: bytes) -> None:
        self._inner.put(digest, data)

    def fetch(self, digest: bytes) -> bytes:
        return self._inner.fetch(digest)

    def submit(self, unit: WorkUnit) -> None:
        self._inner.submit(unit)

    def close(self) -> None:
        self._inner.close()

    def retain(self, digests: Iterable[bytes]) -> None:
        self._inner.retain(digests)

    def collect(self, timeout_s: float | None = None) -> list[UnitResult]:
        return [self._made_exact(result) for result in self._inner.collect(timeout_s)]

    def _made_exact(self, result: UnitResult) -> UnitResult:
        scores, skills = result.scores.copy(), result.skills.copy()
        for row, digest in enumerate(result.digests):
            assert digest is not None
            drawn = np.frombuffer(blake3(digest).digest(length=8 * skills[row].size), dtype="<u4") / 2.0**32
            skills[row] = drawn[: skills[row].size].reshape(skills[row].shape)
            scores[row, :, :2] = drawn[-scores.shape[1] :, None]
        return replace(result, scores=scores, skills=skills)


def _exact_rows() -> Benchmark:
    numbers = (np.arange(240 * 6, dtype=np.int64) * 7919) % 251
    inputs = (numbers.reshape(240, 6) / 256).astype(np.float32)
    return Benchmark.from_arrays(inputs, inputs[:, :3].argmax(axis=1))


def _portable_campaign(kind: str) -> tuple[Plan, dict[str, Any]]:
    known = [operators.get(key) for key in sorted(operators.keys())]
    portable = [found for found in known if found.is_portable and not found.is_plugin]  # other tests load plugins
    others = ("init", "adopt", "perturb", "openai_es")
    varied: dict[str, Any] = {found.name: {} for found in portable if found.name not in others}
    changes: dict[str, Any] = {
        "operators": varied,
        "tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "trained": "search"},
        "strategy": {"kind": kind, "population": 8},
    }
    if kind == "openai_es":
        changes |= {"objectives": ["accuracy"], "operators": {}, "widths": {}}
    plan = replace(small.plan_of(_exact_rows(), **changes), environment="pinned")
    evaluator = ByDigest(InProcessEvaluator(plan.benchmark, small.MATERIALISE))
    state, commits, _ = small.play(plan, evaluator=evaluator)
    used = {name for commit in commits for births in commit.births for name in births.operator}
    assert all(operators.get(name).is_portable for name in used)
    assert state.champion is not None
    return plan, {
        "campaign_key": plan.key.hex(),
        "births": _digest_of_births(commits),
        "population": population_id(plan, state),
        "lineage": _content_hash(commits),
        "champion": state.block,
        "individual": individual_id(plan.key, state.champion),
        "operators": sorted(used),
    }


def _digest_of_births(commits: list[Commit]) -> str:
    """Returns one hash over what makes every birth (its recipe) and what it is (its weights)."""
    rows = [
        [b.individual[row], b.operator[row], int(b.seed[row]), b.settings[row], b.parents[row], b.weights_digest[row]]
        for commit in commits
        for b in commit.births
        for row in range(len(b.event))
    ]
    return blake3(json.dumps(rows).encode()).hexdigest()


def _content_hash(commits: list[Commit]) -> str:
    files, home, clock = MemoryFiles(), Path("/home"), ManualClock(0.0)
    with LineageWriter(files, home, "pinned", clock) as writer:
        for commit in commits:
            writer.commit(launching._signed_off(commit, "pinned", clock))
        before = LineageReader(files, home).content_hash("pinned")
        writer.seal()
    assert LineageReader(files, home).content_hash("pinned") == before
    return before


@pytest.mark.parametrize("kind", ["ga", "nsga2", "openai_es"])
def test_a_small_lineage_of_portable_operators_is_pinned(kind: str, regen_goldens: bool) -> None:
    """Equal on every machine. A change here means that campaigns of the last version cannot be gone on with."""
    _, found = _portable_campaign(kind)
    goldens = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if regen_goldens:
        GOLDEN.write_text(json.dumps({**goldens, kind: found}, indent=1, sort_keys=True) + "\n")
    else:
        assert found == goldens[kind]
