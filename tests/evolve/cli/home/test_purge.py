"""``evolve fork``, ``purge`` and ``upgrade`` as people call them, on copies of one finished campaign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evolve.home.home import VERSION, Home
from population.clock import SystemClock
from population.lineage.journal.writer import LineageWriter
from tests.evolve import whole
from tests.evolve.cli.conftest import Done, Program, run_apart

DEAD = whole.environment()


def test_a_fork_runs_is_listed_and_keeps_its_origin_from_being_purged(own_home: Path, program: Program) -> None:
    forked = run_apart(
        "fork", "tiny@2", "stop.generations=1", "tiers=null", "gates=[]", "promote=null",
        "--seed", "5", "--name", "twig", "--json", "--home", own_home, env=DEAD,
    )  # fmt: skip
    assert forked.code == 0, forked.err
    summary = json.loads(forked.out.splitlines()[-1])
    assert (summary["campaign"], summary["state"], summary["seed"]) == ("twig", "done", 5)
    sql = "SELECT forked_from, forked_at FROM campaigns WHERE campaign = 'twig'"
    asked = program("query", sql, "--format", "json", "--home", own_home)
    assert json.loads(asked.out) == [{"forked_from": "tiny", "forked_at": 2}], asked.err
    refused = program("purge", "tiny", "--yes", "--home", own_home)
    assert refused.code == 2
    assert "--force" in refused.err
    assert Home.open(own_home).campaigns() == ["tiny", "twig"]


@pytest.mark.parametrize(
    ("campaign", "override", "words"),
    [
        ("tiny@99", "seed=1", ["tiny@99: there is no such step", "has the steps 0 to"]),
        ("tiny@x", "seed=1", ["write CAMPAIGN@STEP", "tiny@12"]),
        ("tinny", "seed=1", ["no campaign 'tinny'", "there are: tiny"]),
        ("tiny", "benchmark.split_seed=3", ["benchmark: a fork keeps the benchmark"]),
        ("tiny", "strategy.populaton=3", ["'population'"]),
    ],
)
def test_what_cannot_be_forked_is_told_and_begins_nothing(
    program: Program, finished: Done, campaign: str, override: str, words: list[str]
) -> None:
    answer = program("fork", campaign, override, "--home", finished.home)
    assert (answer.code, answer.out) == (2, "")
    assert all(word in answer.err for word in words), answer.err
    assert Home.open(finished.home).campaigns() == ["tiny"]


def test_a_campaign_is_purged_only_on_a_clear_word_and_leaves_a_tombstone(own_home: Path, program: Program) -> None:
    unsure = program("purge", "tiny", "--home", own_home)
    assert (unsure.code, unsure.out) == (2, "")
    assert "cannot be undone: say --yes" in unsure.err
    needed = program("purge", "tiny", "--yes", "--home", own_home)
    assert needed.code == 2
    assert "'tiny' points to" in needed.err
    assert Home.open(own_home).campaigns() == ["tiny"]
    stone = json.loads(program("purge", "tiny", "--yes", "--force", "--json", "--home", own_home).out)
    assert (stone["campaign"], stone["state"]) == ("tiny", "done")
    assert stone["objects_removed"] > 0
    assert json.loads(program("status", "--json", "--home", own_home).out) == []
    assert json.loads(program("status", "--purged", "--json", "--home", own_home).out) == [stone]
    again = program("purge", "tiny", "--yes", "--home", own_home)
    assert again.code == 2
    assert "was purged before" in again.err
    assert [entry["name"] for entry in json.loads(program("heads", "--json", "--home", own_home).out)] == ["tiny"]


def test_a_home_of_an_older_format_asks_for_the_upgrade_and_gets_it_once(
    own_home: Path, finished: Done, program: Program
) -> None:
    mark = own_home / "VERSION"
    mark.chmod(0o644)
    mark.write_text('{"version": 1}')
    before = program("status", "--json", "--home", own_home).out
    refused = program("run", finished.config, "--seed", "9", "--home", own_home)
    assert refused.code == 2
    assert "evolve upgrade" in refused.err
    home = Home.open(own_home)
    with LineageWriter(home.files, own_home, "tiny", SystemClock()):
        busy = program("upgrade", "--home", own_home)
    assert busy.code == 3
    assert "'tiny' runs" in busy.err
    moved = program("upgrade", "--home", own_home)
    assert (moved.code, moved.out) == (0, f"{own_home}: moved from format 1 to {VERSION}\n")
    same = program("upgrade", "--json", "--home", own_home)
    assert json.loads(same.out) == {"home": str(own_home), "before": VERSION, "after": VERSION}
    assert program("status", "--json", "--home", own_home).out == before
