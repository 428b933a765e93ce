"""A home of every older format is read as it is, moved to the newest one, and its campaigns go on to the same hashes."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evolve.driver import launch as launching
from evolve.driver.launch import launch
from evolve.home.home import VERSION, Home
from evolve.home.upgrade import MIGRATIONS, upgrade
from evolve.recovery.forked_plan import plan_in
from evolve.recovery.rebuild import rebuild
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.in_process import InProcessEvaluator
from population.blocks.block import load_block
from population.errors import InputError, Locked, NewerHome
from population.files.local_files import LocalFiles
from population.lineage.journal.writer import LineageWriter
from population.lineage.sql.query import run_query
from tests.evolve import small
from tests.old_homes import unpack

#: What an upgrade writes, and what names the process that looked last.
PASSING = ("VERSION", "lineage.lock")
GOLDENS = Path(__file__).resolve().parents[2] / "goldens"


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges in this process."""
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))


@pytest.fixture
def old(tmp_path: Path) -> Home:
    """A home that version 1 of the program wrote: a finished campaign, and one that was interrupted."""
    return Home.open(unpack(tmp_path))


def _resume(home: Home) -> dict[str, Any]:
    config = home.config_of("interrupted")
    return launch(
        plan_in(home, config, handle="interrupted"),
        home,
        handle="interrupted",
        inexactly=True,
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )


def test_there_is_a_migration_from_every_older_format() -> None:
    assert sorted(MIGRATIONS) == list(range(1, VERSION))
    assert all((GOLDENS / f"home-{version}.tar.gz").exists() for version in MIGRATIONS)


def test_an_older_home_is_read_as_it_is(old: Home) -> None:
    assert old.version == 1
    assert {handle: old.state_of(handle) for handle in old.campaigns()} == {
        "done": "done",
        "interrupted": "interrupted",
    }
    summary = old.summary_of("done")
    assert summary is not None
    assert old.lineage_reader().content_hash("done") == summary["lineage"]
    assert load_block(old.block_store(), summary["champion"]).id == summary["champion"]
    assert rebuild(old, summary["individual"])["same"] in (True, None)
    count = run_query(old.lineage_reader(), "SELECT count(*) AS n FROM individuals WHERE campaign = 'done'").to_pylist()
    assert count == [{"n": summary["evaluations"]}]


def test_campaigns_are_run_in_the_newest_format_only(old: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in old.root.rglob("*")}
    with pytest.raises(InputError, match=r"format 1.*evolve upgrade"):
        _resume(old)
    assert {path: path.stat().st_mtime_ns for path in old.root.rglob("*")} == before


def test_an_upgraded_home_has_lost_nothing_and_its_campaigns_go_on(old: Home) -> None:
    before = {path: path.read_bytes() for path in old.root.rglob("*") if path.is_file() and path.name not in PASSING}
    assert upgrade(old) == {"home": str(old.root), "before": 1, "after": VERSION}
    assert {path: path.read_bytes() for path in before} == before
    assert upgrade(old) == {"home": str(old.root), "before": VERSION, "after": VERSION}
    summary = _resume(old)
    assert summary["state"] == "done"
    assert old.state_of("interrupted") == "done"


class Mortal(LocalFiles):
    """A disk for a process that dies after so many effects."""

    def __init__(self, last: int) -> None:
        self.left = last

    def _effect(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        self._effect()
        super().make_dirs(path, mode)

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        self._effect()
        return super().write_atomic(path, data, mode, replace=replace)


def test_an_upgrade_that_was_cut_short_is_repeated(old: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for last in range(2 * len(MIGRATIONS)):
        with monkeypatch.context() as patch:
            files = Mortal(last)
            patch.setattr(Home, "files", property(lambda home, disk=files: disk))
            with suppress(KeyboardInterrupt):
                upgrade(old)
            assert files.left < 0
        assert old.version < VERSION
        assert old.state_of("done") == "done"
    assert upgrade(old)["after"] == VERSION


def test_a_home_in_use_and_a_newer_home_are_not_touched(old: Home) -> None:
    with (
        LineageWriter(old.files, old.root, "interrupted", launching.SystemClock()),
        pytest.raises(Locked, match="'interrupted' runs"),
    ):
        upgrade(old)
    assert old.version == 1
    newer = old.root / "VERSION"
    newer.chmod(0o644)
    newer.write_text(json.dumps({"version": VERSION + 1}))
    with pytest.raises(NewerHome):
        upgrade(old)
