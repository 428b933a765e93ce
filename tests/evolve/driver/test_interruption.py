"""Campaigns that are killed or interrupted at any moment end as if nothing had happened; nothing committed is lost."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evolve.campaign.summary import Progress
from evolve.driver import launch as launching
from evolve.driver.requests import Interrupted
from evolve.home.home import Home
from fitness.evaluators.in_process import InProcessEvaluator
from population.files.local_files import LocalFiles
from population.lineage.format.records import Commit
from population.lineage.journal.writer import LineageWriter
from tests.evolve import small, whole

ENDLESS = "stop.generations=100000"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[bytes]]:
    """The hashes of the campaign that nobody interrupted, and its commits without clocks and incidents."""
    home = tmp_path_factory.mktemp("reference") / "home"
    summary = whole.run_in(home)
    return whole.hashes(summary), whole.facts_of(home)


# ---- kill -9 of a real driver (test_kills.py kills it everywhere) --------------------------------------------------------


#: A generation of hours, so that a worker is in the midst of a unit.
LONG_STEP = ("operators.burst.settings.steps=9999", "operators.burst.weight=1000")


@pytest.mark.parametrize("when", [pytest.param("starting", marks=pytest.mark.slow), "in the midst of a unit"])
def test_no_process_is_left_when_a_driver_is_killed(tmp_path: Path, when: str) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home, *LONG_STEP, "--workers", "2")) as driver:
        if when == "starting":
            assert driver.wait_for(lambda: bool(whole.family(driver.process.pid)))
        else:
            assert driver.wait_for(lambda: whole.num_commits(home) >= 2)
            time.sleep(0.5)
        below = whole.family(driver.process.pid)
        assert below
        driver.process.kill()
        driver.finish()
        assert whole.all_end(below, 15.0), whole.living(below)


@pytest.mark.slow
def test_no_process_of_ray_is_left_when_a_driver_is_killed(tmp_path: Path) -> None:
    """Ray's own agents once took more than a minute to miss their raylet."""
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home, ENDLESS, "--workers", "2", "--address", "")) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 2)
        below = whole.family(driver.process.pid)
        driver.process.kill()
        driver.finish()
        assert whole.all_end(below, 15.0), whole.living(below)


# ---- Ctrl-C and SIGTERM -------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_a_whole_lineage_that_resume_goes_on_with(
    tmp_path: Path, reference: tuple[dict[str, Any], list[bytes]]
) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 3)
        driver.process.send_signal(signal.SIGINT)
        below = whole.family(driver.process.pid)
        code, out, err = driver.finish()
        assert (code, out) == (130, ""), err
        assert "Traceback" not in err
        assert not whole.living(below)
    before = whole.commits_of(home)
    assert 3 <= len(before) < len(reference[1])
    assert whole.facts_of(home) == reference[1][: len(before)]
    assert f"-m evolve resume {whole.HANDLE}" in err
    assert Home.open(home).state_of(whole.HANDLE) == "interrupted"
    resumed = whole.call(whole.command("resume", whole.HANDLE, "--workers", "2", "--json", "--home", home))
    assert resumed.returncode == 0, resumed.stderr
    assert whole.hashes(json.loads(resumed.stdout.splitlines()[-1])) == reference[0]
    assert whole.commits_of(home)[: len(before)] == before
    assert whole.facts_of(home) == reference[1]
    assert Home.open(home).state_of(whole.HANDLE) == "done"


@pytest.mark.slow
def test_sigterm_is_as_polite_as_ctrl_c(tmp_path: Path, reference: tuple[dict[str, Any], list[bytes]]) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 2)
        driver.process.send_signal(signal.SIGTERM)
        code, out, err = driver.finish()
    assert (code, out) == (130, ""), err
    assert "Traceback" not in err
    assert Home.open(home).state_of(whole.HANDLE) == "interrupted"
    assert whole.hashes(whole.run_in(home)) == reference[0]


def test_a_second_ctrl_c_ends_at_once_though_a_long_step_is_under_way(tmp_path: Path) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home, *LONG_STEP)) as driver:
        assert driver.wait_for(lambda: whole.num_commits(home) >= 2)
        below = whole.family(driver.process.pid)
        driver.process.send_signal(signal.SIGINT)
        assert driver.wait_for(lambda: "Once more ends at once" in driver.said())  # two at once count as one
        driver.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        code, _, err = driver.finish()
        assert code == 130, err
        assert time.monotonic() - began < 10.0
        assert "Traceback" not in err
        assert whole.all_end(below, 15.0), whole.living(below)
    assert Home.open(home).state_of(whole.HANDLE) == "interrupted"
    assert len(whole.commits_of(home)) == 2


@pytest.mark.usefixtures("quick_workers")
def test_an_interruption_after_any_commit_is_gone_on_from(
    tmp_path: Path, in_one_process: tuple[dict[str, Any], list[bytes], int]
) -> None:
    """One campaign, interrupted anew after each single commit."""
    home = tmp_path / "h"
    summary: dict[str, Any] = {}
    ends = 0
    while not summary:
        interrupted = threading.Event()
        first = whole.num_commits(home)

        def one_more(progress: Progress, event: threading.Event = interrupted, before: int = first) -> None:
            if whole.num_commits(home) > before:
                event.set()

        try:
            summary = whole.run_in(home, progress=one_more, interrupted=interrupted)
        except Interrupted:
            ends += 1
            assert whole.num_commits(home) == first + 1
            assert Home.open(home).state_of(whole.HANDLE) == "interrupted"
    assert ends == len(in_one_process[1]) - 1  # the last commit ends the campaign
    assert whole.hashes(summary) == in_one_process[0]
    assert whole.facts_of(home) == in_one_process[1]


# ---- a process that dies at any of its writes ---------------------------------------------------------------------------


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges in this process: no isolation (so the lineage says so in its scores, and hashes to something else)."""
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))


class Died(BaseException):
    """The process is gone: nothing after this happens. No handler of ours catches it."""


class Mortal:
    """The disk, for a process that dies at its n-th effect: before it, in the midst of it (an append), or after it."""

    def __init__(self, last: int, moment: str) -> None:
        self._files, self._last, self._moment = LocalFiles(), last, moment
        self.effects = 0
        for name in ("read_bytes", "exists", "list", "size", "lock"):
            setattr(self, name, getattr(self._files, name))

    def append(self, path: Path, data: bytes) -> None:
        self._effect(
            lambda: self._files.append(path, data), lambda: self._files.append(path, data[: max(1, len(data) // 2)])
        )

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        done: list[bool] = []
        self._effect(lambda: done.append(self._files.write_atomic(path, data, mode, replace=replace)))
        return done[0]

    def write_many(self, contents: Mapping[Path, bytes], mode: int = 0o444) -> None:
        first = dict(list(contents.items())[: len(contents) // 2])
        self._effect(lambda: self._files.write_many(contents, mode), lambda: self._files.write_many(first, mode))

    def remove(self, path: Path) -> None:
        self._effect(lambda: self._files.remove(path))

    def remove_tree(self, path: Path, aside: Path) -> None:
        self._effect(lambda: self._files.remove_tree(path, aside))

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        self._effect(lambda: self._files.make_dirs(path, mode))

    def make_folder(self, path: Path) -> bool:
        made: list[bool] = []
        self._effect(lambda: made.append(self._files.make_folder(path)))
        return made[0]

    def truncate(self, path: Path, size: int) -> None:
        self._effect(lambda: self._files.truncate(path, size))

    def settle(self, path: Path, start: int = 0) -> None:
        self._effect(lambda: self._files.settle(path, start))

    def note(self, path: Path, data: bytes) -> None:
        self._effect(lambda: self._files.note(path, data))

    def _effect(self, act: Callable[[], object], part: Callable[[], object] = lambda: None) -> None:
        if self.effects > self._last:
            raise Died  # on its way out: a dead process writes nothing
        self.effects += 1
        if self.effects <= self._last:
            act()
            return
        if self._moment == "after":
            act()
        elif self._moment == "midst":
            part()
        raise Died


def _always(files: Mortal) -> property:
    return property(lambda home: files)


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[bytes], int]:
    """As ``reference``, judged in this process, and how many effects on the disk it took."""
    with pytest.MonkeyPatch.context() as patch:
        files = Mortal(10**9, "before")
        patch.setattr(Home, "files", _always(files))
        patch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))
        home = tmp_path_factory.mktemp("one-process") / "home"
        summary = whole.run_in(home)
    return whole.hashes(summary), whole.facts_of(home), files.effects


def _die_and_go_on(
    home: Path,
    deaths: list[tuple[int, str]],
    wanted: tuple[dict[str, Any], list[bytes], int],
    patch: pytest.MonkeyPatch,
) -> None:
    """Runs a campaign whose processes die, one after the other, at these effects; then runs it to its end."""
    acknowledged: list[Commit] = []
    commit_of = LineageWriter.commit

    def commit(writer: LineageWriter, commit: Commit) -> None:
        commit_of(writer, commit)
        acknowledged.append(commit)

    patch.setattr(LineageWriter, "commit", commit)
    for last, moment in deaths:
        files = Mortal(last, moment)
        with patch.context() as inner:
            inner.setattr(Home, "files", _always(files))
            with suppress(Died):
                whole.run_in(home)
        if (home / "VERSION").exists():
            handles = Home.open(home).campaigns()
            there = whole.facts_of(home, handles[0]) if handles else []
            assert len(there) >= len(acknowledged)
            assert there == wanted[1][: len(there)]
    summary = whole.run_in(home)
    assert whole.hashes(summary) == wanted[0]
    assert whole.facts_of(home, summary["campaign"]) == wanted[1]
    assert Home.open(home).state_of(summary["campaign"]) == "done"
    assert len(Home.open(home).campaigns()) == 1
    assert not [path for path in home.rglob(".tmp-*") if path.is_file()]


@pytest.mark.usefixtures("quick_workers")
def test_a_process_that_dies_at_its_writes_loses_nothing(
    tmp_path: Path,
    in_one_process: tuple[dict[str, Any], list[bytes], int],
    monkeypatch: pytest.MonkeyPatch,
    scaled: Callable[[int], int],
) -> None:
    rng = np.random.default_rng(3)
    for number in range(scaled(3)):
        lasts = rng.integers(0, in_one_process[2], size=2).tolist()
        deaths = [(last, str(rng.choice(["before", "midst", "after"]))) for last in lasts]
        _die_and_go_on(tmp_path / str(number), deaths, in_one_process, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("quick_workers")
@pytest.mark.parametrize("moment", ["before", "midst", "after"])
def test_a_process_that_dies_at_each_of_its_writes_loses_nothing(
    tmp_path: Path,
    in_one_process: tuple[dict[str, Any], list[bytes], int],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    for last in range(in_one_process[2]):
        _die_and_go_on(tmp_path / str(last), [(last, moment)], in_one_process, monkeypatch)
