from __future__ import annotations

import json
from pathlib import Path

from evolve.home.home import Home
from population.lineage.sql.query import run_query
from tests.evolve.cli.conftest import Done, Program, environment, run_apart

DEAD = environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9")


def test_heads_tell_what_stands(program: Program, finished: Done) -> None:
    (head,) = json.loads(program("heads", "--json", "--home", finished.home).out)
    assert (head["stage"], head["name"], head["sequence"]) == ("production", "tiny", 1)
    assert head["block"] == finished.summary["champion"]
    assert head["heldout"] == finished.summary["heldout"]
    assert head["signed_by"]
    text = program("heads", "--home", finished.home).out
    assert finished.summary["champion"][:12] in text


def test_a_home_without_heads_says_how_to_get_one(program: Program, tmp_path: Path) -> None:
    Home.create(tmp_path / "h")
    answer = program("heads", "--home", tmp_path / "h")
    assert answer.code == 0
    assert "promote BLOCK --name NAME" in answer.err
    assert json.loads(program("heads", "--json", "--home", tmp_path / "h").out) == []


def test_the_standing_head_again_is_already_there_and_takes_no_look(own_home: Path, finished: Done) -> None:
    looks = "SELECT count(look) AS looks FROM promotions"
    before = run_query(Home.open(own_home).lineage_reader(), looks).to_pylist()
    answer = run_apart(
        "promote", finished.summary["champion"][:12], "--name", "tiny", "--json", "--home", own_home, env=DEAD
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["decision"] == "already there"
    assert run_query(Home.open(own_home).lineage_reader(), looks).to_pylist() == before


def test_a_refusal_ends_with_1_and_says_why(own_home: Path, finished: Done) -> None:
    answer = run_apart(
        "promote",
        finished.summary["champion"],
        "--name",
        "other",
        "--floor",
        "ultimate=0.9999",
        "--home",
        own_home,
        env=DEAD,
    )
    assert answer.code == 1
    assert "other: refused" in answer.out
    assert "misses the floor 0.9999" in answer.out
    assert Home.open(own_home).heads().names() == ["tiny"]


def test_a_dead_tracker_is_told_in_one_line_and_changes_no_answer(own_home: Path, finished: Done) -> None:
    answer = run_apart("promote", finished.summary["champion"], "--name", "second", "--home", own_home, env=DEAD)
    assert answer.code == 0, answer.err
    assert answer.err.count("MLflow at http://127.0.0.1:9 does not show all of this") == 1
    assert Home.open(own_home).heads().names() == ["second", "tiny"]


def test_rolling_back_a_first_head_is_refused_and_changes_nothing(own_home: Path) -> None:
    answer = run_apart("rollback", "tiny", "--home", own_home, env=DEAD)
    assert answer.code == 2
    assert "no other block stood before" in answer.err
    head = Home.open(own_home).heads().current("tiny")
    assert head is not None
    assert head.sequence == 1


def test_a_floor_that_cannot_be_read_is_named(program: Program, finished: Done) -> None:
    for floor in ("lite", "lite=high", "big=0.5", "lite=1.5"):
        answer = program(
            "promote", finished.summary["champion"], "--name", "x", "--floor", floor, "--home", finished.home
        )
        assert answer.code == 2
        assert repr(floor) in answer.err
