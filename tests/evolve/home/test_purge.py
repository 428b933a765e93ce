"""A purged campaign is gone with all that only it held; what others hold stays to the last byte; it can be cut short."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from evolve.driver import launch as launching
from evolve.driver.launch import launch
from evolve.home import purge as purging
from evolve.home.home import Home
from evolve.home.purge import purge, tombstones
from evolve.home.store_fsck import check_home
from evolve.recovery import shelf
from evolve.recovery.fork import make_origin
from evolve.recovery.forked_plan import plan_in
from evolve.recovery.rebuild import rebuild
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.in_process import InProcessEvaluator
from population.blocks.block import load_block
from population.clock import ManualClock, SystemClock
from population.errors import DamageError, InputError, Locked, NotFound, StorageError
from population.files.local_files import LocalFiles
from population.lineage.journal.fsck import lineages_of
from population.lineage.journal.witness import WITNESS
from population.lineage.journal.writer import LineageWriter
from population.lineage.sql.query import run_query
from tests.evolve import small, whole
from tests.evolve.kills import Killed, killed_at
from tests.population.faulty_files import FaultyFiles

OTHER = ("name=other", "seed=7")


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges in this process."""
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two finished campaigns, which share objects; tests get copies of it."""
    path = tmp_path_factory.mktemp("both") / "h"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
        whole.run_in(path)
        whole.run_in(path, *OTHER)
    return path


@pytest.fixture
def home(both: Path, tmp_path: Path) -> Home:
    """A home with two finished campaigns."""
    return Home.open(shutil.copytree(both, tmp_path / "h"))


@pytest.fixture(scope="module")
def other_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of a home in which only the other campaign ran."""
    path = tmp_path_factory.mktemp("alone") / "h"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
        whole.run_in(path, *OTHER)
    return _objects(Home.open(path))


def _objects(home: Home) -> dict[str, bytes]:
    store = home.block_store()
    packs = store.packs()
    objects = {cid: store.get_object(cid) for cid in store.list_objects()}
    return objects | {f"pack {name}": b"".join(sorted(packs.digests(name))) for name in packs.names()}


def _alone(tmp_path: Path, *overrides: str) -> dict[str, bytes]:
    """Returns the objects of a home in which only this campaign ran."""
    whole.run_in(tmp_path / "alone", *overrides)
    return _objects(Home.open(tmp_path / "alone"))


def test_a_purge_takes_a_campaigns_packs_and_leaves_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "LEAST_ROWS", 1)
    for overrides in ((), OTHER):
        whole.run_in(tmp_path / "h", *overrides)
    home = Home.open(tmp_path / "h")
    before = _objects(home)
    stone = purge(home, whole.HANDLE, ManualClock(5.0))
    assert _objects(home) == _alone(tmp_path, *OTHER)
    assert len([name for name in _objects(home) if name.startswith("pack ")]) > 0
    assert stone["objects_removed"] == len(before) - len(_objects(home)) > 0
    assert {path.suffix for path in (home.store_root / "packs").iterdir()} == {".index", ".rows"}
    assert len(list((home.store_root / "packs").iterdir())) == 2 * len(home.block_store().packs().names())


def test_a_purged_campaign_is_gone_and_the_others_are_as_if_it_had_never_been(
    home: Home, other_alone: dict[str, bytes]
) -> None:
    """All that lies beside its log goes too: checkpoints, the witness, what a repair set aside."""
    summary = home.summary_of(whole.HANDLE)
    assert summary is not None
    other = whole.commits_of(home.root, "other")
    before = len(_objects(home))
    for folder, name in (
        (home.campaign_dir(whole.HANDLE), "checkpoint-3.evck"),
        (home.campaign_dir(whole.HANDLE) / "damaged", "journal-0.log.1"),
        (home.lineage_root / whole.HANDLE / "damaged", "MANIFEST.1"),
    ):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(summary["individual"].encode())
    assert (home.campaign_dir(whole.HANDLE) / WITNESS).exists()
    stone = purge(home, whole.HANDLE, ManualClock(5.0))
    assert _objects(home) == other_alone
    assert stone["objects_removed"] == before - len(_objects(home)) > 0
    assert home.campaigns() == ["other"]
    assert home.lineage_reader().handles() == ["other"]
    assert whole.commits_of(home.root, "other") == other
    assert tombstones(home, pytest.fail) == [stone]
    assert {name: stone[name] for name in ("campaign", "state", "lineage", "champion", "purged")} == {
        "campaign": whole.HANDLE,
        "state": "done",
        "lineage": summary["lineage"],
        "champion": summary["champion"],
        "purged": 5.0,
    }
    assert not home.campaign_dir(whole.HANDLE).exists()
    assert not [path for path in home.root.rglob("*") if summary["individual"].encode() in _bytes_of(path)]
    with pytest.raises(NotFound, match="purged before"):
        purge(home, whole.HANDLE, ManualClock(6.0))
    assert home.new_handle(whole.HANDLE) == "digits-2"


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_what_another_campaign_holds_too_stays(home: Home) -> None:
    again = whole.run_in(home.root, again=True)
    before = _objects(home)
    stone = purge(home, whole.HANDLE, SystemClock())
    assert stone["objects_removed"] == 0
    assert _objects(home) == before
    assert rebuild(home, again["individual"])["same"] is True


def test_a_campaign_that_runs_or_is_needed_is_not_purged(home: Home) -> None:
    before = whole.commits_of(home.root)
    with (
        LineageWriter(home.files, home.root, "other", SystemClock()),
        pytest.raises(Locked, match=r"'other' runs.*nothing was removed"),
    ):
        purge(home, whole.HANDLE, SystemClock())
    config = whole.config("name=branch", "stop.generations=2")
    origin = make_origin(home, whole.HANDLE, 3, config)
    launch(
        plan_in(home, config, origin=origin),
        home,
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )
    with pytest.raises(InputError, match=r"branch was forked from 'digits'.*--force"):
        purge(home, whole.HANDLE, SystemClock())
    assert whole.commits_of(home.root) == before
    assert tombstones(home, pytest.fail) == []
    purge(home, whole.HANDLE, SystemClock(), is_forced=True)
    assert all(origin.read(founder.digest) for founder in origin.founders)
    with pytest.raises(NotFound, match="there are: other, branch"):
        purge(home, "digts", SystemClock())


def test_a_block_in_production_is_kept_and_asked_about(home: Home) -> None:
    summary = home.summary_of(whole.HANDLE)
    assert summary is not None
    home.heads().advance("digits", summary["champion"], {}, 0, decided="2026-01-01T00:00:00Z")
    with pytest.raises(InputError, match=r"'digits' points to"):
        purge(home, whole.HANDLE, SystemClock())
    purge(home, whole.HANDLE, SystemClock(), is_forced=True)
    assert load_block(home.block_store(), summary["champion"]) is not None


class Died(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(
    "place",
    [
        "remove_tree",
        "_remove_objects",
        *(pytest.param(p, marks=pytest.mark.slow) for p in ("_remove_folders", "_write")),
    ],
)
def test_a_purge_that_was_cut_short_is_gone_on_with(
    home: Home, other_alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It dies after each of its parts; the second part of some is never reached the first time.

    Between its two trees half of a lineage stands there, which queries once called damaged.
    """
    owner = LocalFiles if place == "remove_tree" else purging
    act = getattr(owner, place)

    def dying(*arguments: object) -> None:
        act(*arguments)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(owner, place, dying)
        with suppress(Died):
            purge(home, whole.HANDLE, SystemClock())
    assert json.loads((home.tombstones_root / f"{whole.HANDLE}.json").read_text())["purged"] is None
    assert run_query(home.lineage_reader(), "SELECT campaign FROM campaigns").to_pylist() == [{"campaign": "other"}]
    assert home.campaigns() == home.lineage_reader().handles() == lineages_of(home.files, home.root) == ["other"]
    purge(home, whole.HANDLE, SystemClock())
    assert _objects(home) == other_alone
    assert home.lineage_reader().handles() == home.campaigns() == ["other"]
    assert sorted(path.name for path in home.tombstones_root.iterdir()) == [f"{whole.HANDLE}.json"]


def test_a_purge_on_a_disk_that_fails_anywhere_is_gone_on_with(
    both: Path,
    other_alone: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scaled: Callable[[int], int],
) -> None:
    """Its folders were once moved and removed past the file system: no disk of a test could refuse that."""

    def purge_on(fail_at: int, *, is_after: bool) -> tuple[Home, FaultyFiles]:
        shutil.rmtree(tmp_path / "h", ignore_errors=True)
        home = Home.open(Path(shutil.copytree(both, tmp_path / "h")))
        files = FaultyFiles(LocalFiles(), fail_at, is_after=is_after, only_changes=True)
        with monkeypatch.context() as patch, suppress(StorageError):
            patch.setattr(Home, "files", files)
            purge(home, whole.HANDLE, SystemClock())
        return home, files

    num_changes = purge_on(-1, is_after=False)[1].num_calls
    # the tombstone, its objects, two trees, the tombstone; and some of the objects
    points = {0, *range(num_changes - 3, num_changes)}
    points |= set(np.random.default_rng(3).choice(num_changes, scaled(2), replace=False).tolist())
    for point, is_after in itertools.product(sorted(points), (False, True)):
        home, files = purge_on(point, is_after=is_after)
        assert files.num_calls == point + 1
        assert check_home(home).is_whole, (point, is_after)
        with suppress(NotFound):  # it failed when all was done
            purge(home, whole.HANDLE, SystemClock())
        assert sorted(path.name for path in home.tombstones_root.iterdir()) == [f"{whole.HANDLE}.json"]
        assert _objects(home) == other_alone, (point, is_after)
        assert home.campaigns() == home.lineage_reader().handles() == ["other"]


def test_a_store_is_whole_at_every_moment_of_a_purge(both: Path, tmp_path: Path, scaled: Callable[[int], int]) -> None:
    """A purge removes leaves and blocks one by one; what a killed one leaves is no damage, and is told."""

    def fresh_home() -> Home:
        shutil.rmtree(tmp_path / "h", ignore_errors=True)
        return Home.open(Path(shutil.copytree(both, tmp_path / "h")))

    home = fresh_home()
    with killed_at(10**9, "before") as changes:
        purge(home, whole.HANDLE, SystemClock())
        points = changes()
    notes = 0
    for point in np.random.default_rng(2).choice(points, min(points, scaled(8)), replace=False):
        home = fresh_home()
        with killed_at(1 + int(point), "before"), suppress(Killed):
            purge(home, whole.HANDLE, SystemClock())
        check = check_home(home)
        assert check.is_whole, (point, check.damaged)
        notes += any("was cut short" in note for note in check.notes)
        with suppress(NotFound):
            purge(home, whole.HANDLE, SystemClock())
        assert check_home(home).is_whole
    assert notes


def test_a_store_is_whole_at_every_moment_of_a_campaign(tmp_path: Path) -> None:
    """The check takes no lock and runs beside a driver; it calls nothing damaged, and the campaign comes to the same."""
    home, found, is_over = Home.create(tmp_path / "h"), [], threading.Event()

    def look() -> None:
        while not is_over.is_set():
            found.append(check_home(home))

    beside = threading.Thread(target=look)
    beside.start()
    try:
        summary = whole.run_in(home.root)
    finally:
        is_over.set()
        beside.join()
    assert len(found) > 1
    assert [check.damaged for check in found if not check.is_whole] == []
    assert summary["state"] == "done"


@pytest.mark.parametrize("name", ["fork.json", "config.yaml", "journal"])
def test_a_damaged_campaign_lets_nothing_be_removed_that_it_may_need(home: Home, name: str) -> None:
    """A campaign was half purged before the damage of another was met, or objects that both held were removed."""
    folder = home.campaign_dir("other")
    path = next(folder.glob("journal-*")) if name == "journal" else folder / name
    path.write_bytes((path.read_bytes()[:200] if name == "journal" else b"") + b"{" * 200)
    before = _objects(home)
    with pytest.raises(DamageError, match=f"'other' needs, nothing was removed.*{path.name}"):
        purge(home, whole.HANDLE, SystemClock())
    assert (tombstones(home, pytest.fail), home.campaigns(), _objects(home)) == ([], [whole.HANDLE, "other"], before)
    assert purge(home, whole.HANDLE, SystemClock(), is_forced=True)["objects_removed"] == 0
    assert (home.campaigns(), _objects(home)) == (["other"], before)


@pytest.mark.parametrize("name", ["fork.json", "config.yaml", "summary.json"])
def test_a_damaged_campaign_can_be_purged_itself(home: Home, name: str) -> None:
    (home.campaign_dir("other") / name).write_text("{")
    assert purge(home, "other", SystemClock())["objects_removed"] > 0
    assert (home.campaigns(), check_home(home).is_whole) == ([whole.HANDLE], True)
