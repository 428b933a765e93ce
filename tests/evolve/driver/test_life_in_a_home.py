"""Facts about a campaign's life in a home: paused, gone on with, extended, carried elsewhere, short of space; same hashes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evolve.campaign.events import Extended
from evolve.campaign.summary import Progress
from evolve.driver import launch as launching
from evolve.driver.disk_full import RESERVE_FILE, DiskFull
from evolve.driver.launch import launch
from evolve.driver.requests import Interrupted, RequestFolder
from evolve.home.home import Home
from evolve.recovery.forked_plan import plan_in
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.in_process import InProcessEvaluator
from population.errors import ConfigError, EvaluatorFailed, InputError, StorageError
from population.files.local_files import LocalFiles
from population.lineage.journal.writer import LineageWriter
from population.lineage.sql.query import run_query
from tests.evolve import small, whole


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges in this process."""
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The campaign that nobody interfered with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
        return whole.run_in(tmp_path_factory.mktemp("reference") / "home")


def _launch(home: Home, progress: Callable[[Progress], None] = lambda _: None, **asked: Any) -> dict[str, Any]:
    return launch(
        plan_in(home, whole.config()),
        home,
        progress=progress,
        tracker=NullTracker(),
        **{"interrupted": threading.Event(), **asked},
    )


def _asking(home: Home, verb: str, step: int) -> Callable[[Progress], None]:
    """Returns a progress that asks the driver for something as soon as so many steps are committed."""

    def ask(progress: Progress) -> None:
        requests = RequestFolder(home.files, home.campaign_dir(whole.HANDLE))
        driver = requests.driver()
        assert driver is not None
        if whole.num_commits(home.root) >= step:
            requests.ask(verb, str(driver["token"]))

    return ask


def test_a_campaign_paused_and_stopped_again_and_again_has_the_same_hashes(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    home = Home.create(tmp_path / "h")
    states, summary = [], None
    while summary is None:
        before = whole.num_commits(home.root)
        verb = ("pause", "stop")[len(states) % 2]
        try:
            summary = _launch(home, _asking(home, verb, before + 2))
        except Interrupted as ended:
            states.append((ended.state, home.state_of(whole.HANDLE)))
            assert whole.num_commits(home.root) > before
    assert len(states) >= 3
    assert set(states) == {("paused", "paused"), ("stopped", "stopped")}
    assert whole.hashes(summary) == whole.hashes(reference)
    assert home.state_of(whole.HANDLE) == "done"
    assert home.campaigns() == [whole.HANDLE]
    assert not (home.campaign_dir(whole.HANDLE) / "driver.json").exists()


def test_a_campaign_gone_on_with_and_then_killed_is_interrupted_not_paused(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    with pytest.raises(Interrupted):
        _launch(home, _asking(home, "pause", 2))
    assert home.state_of(whole.HANDLE) == "paused"
    interrupted = threading.Event()
    interrupted.set()
    with pytest.raises(Interrupted):
        _launch(home, interrupted=interrupted)
    assert home.state_of(whole.HANDLE) == "interrupted"


@pytest.mark.slow
def test_the_state_is_read_from_sealed_segments_too(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    with pytest.raises(Interrupted):
        _launch(home, _asking(home, "stop", 3))
    with LineageWriter(home.files, home.root, whole.HANDLE, launching.SystemClock()) as writer:
        writer.seal()
    assert home.state_of(whole.HANDLE) == "stopped"


@pytest.mark.slow
def test_an_extended_campaign_is_interrupted_and_ends_with_the_same_hashes(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    hashes = []
    for number, verb in enumerate(("", "pause")):
        home = Home.create(tmp_path / str(number))
        _launch(home)
        before = whole.commits_of(home.root)
        ask = _asking(home, verb, len(before) + 2) if verb else (lambda _: None)
        try:
            summary = _launch(home, ask, handle=whole.HANDLE, extension=Extended(evaluations=10))
        except Interrupted:
            assert home.state_of(whole.HANDLE) == "paused"
            assert home.summary_of(whole.HANDLE) is None
            summary = _launch(home, handle=whole.HANDLE)
        hashes.append(whole.hashes(summary))
        assert whole.commits_of(home.root)[: len(before)] == before
        assert summary["evaluations"] >= reference["evaluations"] + 10
        assert summary["extended"] == {"evaluations": reference["evaluations"] + 10}
        assert home.block_store().has(summary["champion"])
    assert hashes[0] == hashes[1]
    assert hashes[0] != whole.hashes(reference)
    again = _launch(Home.open(tmp_path / "0"), again=True)
    assert again["again"] is None  # an extended campaign is not what this config asks for
    assert whole.hashes(again) == whole.hashes(reference)


def test_a_campaign_that_is_not_finished_is_not_extended(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    with pytest.raises(Interrupted):
        _launch(home, _asking(home, "pause", 2))
    before = whole.commits_of(home.root)
    with pytest.raises(InputError, match="only a finished campaign"):
        _launch(home, handle=whole.HANDLE, extension=Extended(evaluations=10))
    assert whole.commits_of(home.root) == before
    assert home.state_of(whole.HANDLE) == "paused"


def test_a_driver_that_fails_says_so_and_the_campaign_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]
) -> None:
    home = Home.create(tmp_path / "h")

    def fail(progress: Progress) -> None:
        if whole.num_commits(home.root) >= 3:
            raise EvaluatorFailed("no worker can be had")

    with pytest.raises(EvaluatorFailed):
        _launch(home, fail)
    assert home.state_of(whole.HANDLE) == "failed"
    (*_, last) = home.lineage_reader().commits(whole.HANDLE)
    assert last.events[0]["reason"] == "EvaluatorFailed: no worker can be had"
    assert whole.hashes(_launch(home)) == whole.hashes(reference)


# ---- another environment ------------------------------------------------------------------------------------------------


def test_another_environment_is_told_field_by_field_and_gone_on_with_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any]
) -> None:
    home = Home.create(tmp_path / "h")
    with pytest.raises(Interrupted):
        _launch(home, _asking(home, "pause", 3))
    before = whole.commits_of(home.root)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "NONE")
    with pytest.raises(ConfigError, match=r"cpu: recorded \w+, here NONE\n.*--continue-inexact"):
        _launch(home)
    assert whole.commits_of(home.root) == before
    summary = _launch(home, inexactly=True)
    assert summary["population"] == reference["population"]  # the bits happen to be the same
    assert summary["lineage"] != reference["lineage"]  # and still it is not the same lineage
    rows = run_query(home.lineage_reader(), "SELECT kind FROM incidents WHERE NOT is_recovery").to_pylist()
    assert {"kind": "continued_inexactly"} in rows
    (row,) = run_query(home.lineage_reader(), "SELECT environment FROM campaigns").to_pylist()
    assert '"cpu":"NONE"' in row["environment"]


@pytest.mark.slow
def test_rows_with_other_bits_there_are_recorded_and_the_campaign_is_resumed_exactly_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits are changed by hand: bursts at another learning rate than their recipe says."""
    hashes = []
    for number, ends in enumerate(((), (6, 8))):
        home = Home.create(tmp_path / str(number))
        with monkeypatch.context() as patch:
            with pytest.raises(Interrupted):
                _launch(home, _asking(home, "pause", 4))
            patch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "NONE")
            _bend_bursts(patch)
            for place, end in enumerate(ends):
                with pytest.raises(Interrupted):
                    _launch(home, _asking(home, "pause", end), inexactly=place == 0)
            summary = _launch(home, inexactly=True)
        hashes.append(whole.hashes(summary))
        (event,) = (
            event
            for commit in home.lineage_reader().commits(whole.HANDLE)
            for event in commit.events
            if event["event"] == "continued_inexactly"
        )
        assert event["digests"]
    assert hashes[0] == hashes[1]


def _bend_bursts(patch: pytest.MonkeyPatch) -> None:
    from evolve.recovery import rebuild

    make = rebuild.materialise

    def bent(unit: Any, *others: Any) -> Any:
        settings = tuple(text.replace('"steps":4', '"steps":3') for text in unit.settings)
        return make(unit.__class__(**{**vars(unit), "settings": settings}), *others)

    patch.setattr(rebuild, "materialise", bent)


# ---- a full disk --------------------------------------------------------------------------------------------------------


class Full(LocalFiles):
    """A disk that is full from its n-th write on, until so many writes were refused."""

    def __init__(self, after: int, refusals: int) -> None:
        self.left, self.refusals = after, refusals

    def _check(self, path: Path) -> None:
        if path.name in ("driver.json", "lineage.lock"):
            return
        self.left -= 1
        if self.left < 0 and self.refusals > 0:
            self.refusals -= 1
            raise StorageError(f"{path}: the disk is full") from OSError(errno.ENOSPC, "No space left on device")

    def append(self, path: Path, data: bytes) -> None:
        self._check(path)
        super().append(path, data)

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        self._check(path)
        return super().write_atomic(path, data, mode, replace=replace)

    def write_many(self, contents: Mapping[Path, bytes], mode: int = 0o444) -> None:
        for path in contents:
            self._check(path)
        super().write_many(contents, mode)

    def remove(self, path: Path) -> None:
        super().remove(path)
        if path.name == RESERVE_FILE:
            self.refusals = 0  # there is a little space again


@pytest.mark.parametrize("after", [14, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 26) if n != 14)])
def test_a_campaign_waits_for_space_and_ends_with_the_same_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any], after: int
) -> None:
    home = Home.create(tmp_path / "h")
    files = Full(after, refusals=3)
    said: list[str] = []
    monkeypatch.setattr("evolve.driver.disk_full.RETRY_S", 0.01)
    monkeypatch.setattr(Home, "files", property(lambda home: files))
    summary = _launch(home, disk_wait_s=60.0, say=said.append)
    assert files.refusals == 0
    assert whole.hashes(summary) == whole.hashes(reference)
    assert "Waiting for space" in said[0]
    assert "space again" in said[-1]
    assert not (home.campaign_dir(whole.HANDLE) / RESERVE_FILE).exists()


@pytest.mark.parametrize("after", [18, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 25) if n != 18)])
def test_a_campaign_that_has_waited_enough_is_paused_and_resumed_to_the_same_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, Any], after: int
) -> None:
    home = Home.create(tmp_path / "h")
    with monkeypatch.context() as patch:
        files = Full(after, refusals=10**9)
        patch.setattr(Home, "files", property(lambda home: files))
        with pytest.raises(DiskFull, match=r"paused.*disk is full.*resume"):
            _launch(home, disk_wait_s=0.0)
    assert home.state_of(whole.HANDLE) == "paused"
    assert whole.hashes(_launch(home, disk_wait_s=0.0)) == whole.hashes(reference)
