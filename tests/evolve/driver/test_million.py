"""A campaign of a million individuals is killed and gone on with in seconds: nothing reads its whole history."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evolve.campaign.summary import Progress
from evolve.config.campaign import CampaignConfig
from evolve.driver import launch as launching
from evolve.driver.launch import launch
from evolve.home.home import Home
from evolve.planning.plan import Plan, make_plan
from evolve.recovery import checkpoints
from evolve.tracking.protocol import NullTracker
from fitness.work.work_unit import WorkUnit
from population.clock import SystemClock
from population.lineage.journal.writer import LineageWriter
from tests.evolve import quick, small


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: quick.QuickEvaluator(plan.benchmark))


def _plan_of(config: CampaignConfig) -> Plan:
    plan = make_plan(config, small.rows(), sandbox_level="none")
    return replace(plan, key=config.key, problem=replace(plan.problem, key=config.key))  # as its home looks for it


def _run(home: Path, kind: str, individuals: int, population: int, until: Callable[[Progress], None]) -> dict[str, Any]:
    return launch(
        _plan_of(quick.config_of(kind, individuals, population)),
        Home.create(home),
        progress=until,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )


def _killed_at(home: Path, kind: str, individuals: int, population: int, at: int) -> float:
    """Runs a campaign in a process of its own, which dies by SIGKILL after so many individuals; returns its seconds."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:

            def die(progress: Progress) -> None:
                if progress.evaluations >= at:
                    os.kill(os.getpid(), signal.SIGKILL)

            _run(home, kind, individuals, population, die)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return time.monotonic() - began


def _asked_first(
    home: Path, kind: str, individuals: int, population: int, patch: pytest.MonkeyPatch
) -> tuple[float, int]:
    """Goes on with a campaign; returns the seconds until its first new candidate is submitted, and the steps replayed."""

    class Asked(BaseException):
        pass

    def first(evaluator: quick.QuickEvaluator, unit: WorkUnit) -> None:
        raise Asked

    replayed: list[int] = []
    commits = Home.open(home).lineage_reader().next_step(_handle(home))

    with patch.context() as inner:
        inner.setattr(quick.QuickEvaluator, "submit", first)
        newest = checkpoints.Checkpoints.newest

        def found(self: checkpoints.Checkpoints, chain_at: Any) -> Any:
            state = newest(self, chain_at)
            replayed.append(commits - (state.step if state is not None else 0))
            return state

        inner.setattr(checkpoints.Checkpoints, "newest", found)
        began = time.monotonic()
        with pytest.raises(Asked):
            _run(home, kind, individuals, population, lambda _: None)
        return time.monotonic() - began, replayed[0]


def _handle(home: Path) -> str:
    (handle,) = Home.open(home).campaigns()
    return handle


def _reopened(home: Path) -> float:
    began = time.monotonic()
    opened = Home.open(home)
    with LineageWriter(opened.files, opened.root, _handle(home), SystemClock()):
        return time.monotonic() - began


def _kill_and_go_on(
    home: Path, kind: str, individuals: int, population: int, patch: pytest.MonkeyPatch, told: Callable[[str], None]
) -> None:
    built = _killed_at(home, kind, individuals + 16 * population, population, individuals)
    reopened = _reopened(home)
    first, replayed = _asked_first(home, kind, individuals + 16 * population, population, patch)
    told(
        f"{kind}, {individuals} individuals of a population of {population}: built in {built:.0f} s; after kill -9 "
        f"reopened in {reopened:.2f} s, first new candidate asked after {first:.2f} s, {replayed} steps replayed"
    )
    assert replayed * population <= 2 * checkpoints.EVERY_BIRTHS
    assert reopened < 5.0
    assert first < 20.0


@pytest.mark.parametrize("kind", ["ga", pytest.param("steady", marks=pytest.mark.slow)])
def test_thousands_of_individuals_are_gone_on_with_from_a_checkpoint(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Callable[[str], None]
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_BIRTHS", 512)
    _kill_and_go_on(tmp_path / "h", kind, 5_000, 128, monkeypatch, told)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["ga", "openai_es"])
def test_a_million_individuals_are_gone_on_with_in_seconds(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scaled: Callable[[int], int],
    told: Callable[[str], None],
) -> None:
    _kill_and_go_on(tmp_path / "h", kind, scaled(1_000_000), 1024, monkeypatch, told)
