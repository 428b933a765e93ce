"""Facts about launching: begun, found done, computed anew, refused, gone on with."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any, NoReturn

import pytest

from evolve.config.campaign import load_config
from evolve.driver import launch as launching
from evolve.home.home import Home
from population.blocks.block import load_block
from population.errors import ConfigError, Locked
from population.lineage.journal.writer import LineageWriter
from tests.evolve import small, whole


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A home with one finished campaign, and its summary. Tests that change something work on a copy."""
    home = tmp_path_factory.mktemp("done") / "home"
    return home, whole.run_in(home)


@pytest.fixture
def copy(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(done[0], tmp_path / "copy"))


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(plan: object) -> NoReturn:
        raise AssertionError("somebody asked for workers")

    monkeypatch.setattr(launching, "make_evaluator", refuse)


def test_the_summary_says_what_the_lineage_and_the_store_hold(done: tuple[Path, dict[str, Any]]) -> None:
    path, summary = done
    home = Home.open(path)
    reader = home.lineage_reader()
    births = [births for commit in reader.commits("digits") for births in commit.births]
    repeats = sum(1 for b in births for first in b.repeat_of if first)
    assert summary["lineage"] == reader.content_hash("digits")
    assert summary["evaluations"] == sum(len(b.event) for b in births) - repeats
    assert summary["evaluations"] >= 6 * 6
    assert load_block(home.block_store(), summary["champion"]).id == summary["champion"]
    champions = [(b, row) for b in births for row, name in enumerate(b.individual) if name == summary["individual"]]
    ((batch, row),) = champions
    recorded = dict(zip(batch.measures, batch.scores[row].tolist(), strict=True))
    assert {
        tier: {m.name: value for m, value in recorded.items() if m.tier == tier} for tier in summary["scores"]
    } == summary["scores"]
    assert json.loads((home.campaign_dir("digits") / "summary.json").read_text())["champion"] == summary["champion"]


def test_no_point_of_the_front_is_a_repeat() -> None:
    """A repeat is not judged and spends no FLOPs; it once stood on the front as if its block needed none."""
    plan = small.plan_of(operators={"mean": {}}, stop={"generations": 6}, tiers=None)
    state, commits, _ = small.play(plan)
    births = [births for commit in commits for births in commit.births]
    repeats = {int(b.event[row]) for b in births for row, first in enumerate(b.repeat_of) if first}
    assert repeats
    assert state.front
    assert not repeats & {point.event for point in state.front}
    assert all(point.flops > 0 for point in state.front)


def test_what_a_campaign_leaves_in_cycles_is_collected_when_the_next_begins() -> None:
    """A process that ran campaign after campaign grew: their cycles were set aside with the libraries, for ever."""

    class Knot:
        itself: Knot | None = None

    with launching._quiet_collector():
        knot = Knot()
    knot.itself, left = knot, weakref.ref(knot)
    del knot
    with launching._quiet_collector():
        assert left() is None


def test_the_config_in_the_campaigns_folder_has_the_same_key(done: tuple[Path, dict[str, Any]]) -> None:
    path, summary = done
    stored = load_config(path / "campaigns" / "digits" / "config.yaml")
    assert stored == whole.config()
    assert stored.key.hex() == summary["campaign_key"]


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize("override", ["", "run.workers=2", "name=other", "run.address=10.0.0.1:6379"])
def test_a_finished_campaign_is_shown_and_not_computed_twice(done: tuple[Path, dict[str, Any]], override: str) -> None:
    path, summary = done
    before = sorted(entry for entry in path.rglob("*"))
    seen: list[object] = []
    shown = whole.run_in(path, *filter(None, [override]), progress=seen.append)
    assert shown == {**summary, "already_done": True, "again": None}
    assert not seen
    assert sorted(entry for entry in path.rglob("*")) == before


@pytest.mark.usefixtures("no_workers")
def test_a_config_that_does_not_fit_leaves_no_campaign_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'speed' is not measured"):
        whole.run_in(tmp_path / "h", "objectives=[accuracy, speed]")
    assert Home.open(tmp_path / "h").campaigns() == []
    assert not list((tmp_path / "h" / "campaigns").iterdir())


def test_again_computes_anew_and_says_what_is_the_same(done: tuple[Path, dict[str, Any]], copy: Path) -> None:
    path, summary = copy, done[1]
    seen: list[object] = []
    again = whole.run_in(path, again=True, progress=seen.append)
    assert seen
    assert again["campaign"] == "digits-2"
    assert not again["already_done"]
    assert again["again"] == {f"{name}_same": True for name in whole.SAME} | {"earlier": "digits"}
    assert whole.hashes(again) == whole.hashes(summary)
    assert whole.facts_of(path, again["campaign"]) == whole.facts_of(path)


def test_again_says_when_something_is_not_the_same(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    required = launching._required_summary
    monkeypatch.setattr(
        launching, "_required_summary", lambda home, handle: {**required(home, handle), "lineage": "another"}
    )
    compared = whole.run_in(copy, again=True)["again"]
    assert (compared["population_same"], compared["lineage_same"], compared["champion_same"]) == (True, False, True)


def test_again_compares_with_the_first_and_reads_no_summary_of_others(copy: Path) -> None:
    """Of another equal campaign no more was written than how it ended: that stopped the third one."""
    whole.run_in(copy, again=True)
    Home.open(copy).write_summary("digits-2", {"state": "done"})
    third = whole.run_in(copy, again=True)
    assert (third["campaign"], third["again"]["earlier"]) == ("digits-3", "digits")


@pytest.fixture
def unfinished(copy: Path) -> Home:
    """A home whose driver was killed between the last commit and the summary."""
    home = Home.open(copy)
    (home.campaign_dir("digits") / "summary.json").unlink()
    assert home.state_of("digits") == "interrupted"
    return home


def test_a_campaign_whose_summary_was_never_written_gets_it_and_nothing_is_computed(
    done: tuple[Path, dict[str, Any]], unfinished: Home
) -> None:
    commits = whole.commits_of(unfinished.root)
    found = whole.run_in(unfinished.root)
    assert whole.hashes(found) == whole.hashes(done[1])
    assert whole.commits_of(unfinished.root) == commits
    assert unfinished.state_of("digits") == "done"


def test_a_campaign_of_another_environment_is_not_gone_on_with(
    unfinished: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evolve.planning.plan.environment", lambda kernel, packages: '{"cpu":"another"}')
    with pytest.raises(
        ConfigError, match=r"(?s)another environment.*cpu: recorded \w+, here another.*--continue-inexact.*--again"
    ):
        whole.run_in(unfinished.root)


@pytest.mark.usefixtures("no_workers")
def test_a_driver_is_refused_while_somebody_else_holds_the_log(unfinished: Home) -> None:
    before = whole.commits_of(unfinished.root)
    with (
        LineageWriter(unfinished.files, unfinished.root, "digits", launching.SystemClock()),
        pytest.raises(Locked, match=rf"process {os.getpid()}\b.*wait until it ends"),
    ):
        whole.run_in(unfinished.root)
    assert whole.commits_of(unfinished.root) == before
    assert unfinished.summary_of("digits") is None


@pytest.mark.slow
def test_a_second_driver_is_refused_while_the_first_one_runs(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home)) as first:
        assert first.wait_for(lambda: whole.num_commits(home) >= 1)
        with pytest.raises(Locked, match=rf"process {first.process.pid}\b.*wait until it ends"):
            whole.run_in(home)
        code, out, err = first.finish()
    assert code == 0, err
    assert whole.hashes(json.loads(out)) == whole.hashes(done[1])
    assert Home.open(home).campaigns() == ["digits"]
    assert whole.run_in(home)["already_done"]


@pytest.mark.slow
def test_two_drivers_begun_at_once_damage_nothing(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    home = tmp_path / "h"
    with whole.Driver(whole.run_command(home)) as first, whole.Driver(whole.run_command(home)) as second:
        ended = {driver: driver.finish() for driver in (first, second)}
    finished = [json.loads(out) for code, out, _ in ended.values() if code == 0]
    assert finished, ended
    for code, _, err in ended.values():
        assert code in (0, 3)
        assert code == 0 or any(f"locked by process {d.process.pid}" in err for d in (first, second)), err
    assert all(whole.hashes(summary) == whole.hashes(done[1]) for summary in finished)
    opened = Home.open(home)
    assert {opened.state_of(handle) for handle in opened.campaigns()} == {"done"}
    assert {opened.lineage_reader().content_hash(h) for h in opened.campaigns()} == {done[1]["lineage"]}
