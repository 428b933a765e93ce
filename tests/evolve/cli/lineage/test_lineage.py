from __future__ import annotations

import json
from pathlib import Path

from evolve.home.home import Home
from population.lineage.sql.query import run_query
from tests.evolve.cli.conftest import Done, Program


def parents_of(home: Path) -> dict[str, set[str]]:
    rows = run_query(Home.open(home).lineage_reader(), "SELECT child, parent FROM parents").to_pylist()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["child"], set()).add(row["parent"])
    return found


def above(parents: dict[str, set[str]], name: str) -> set[str]:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in reached:
                reached.add(parent)
                waiting.append(parent)
    return reached


def test_ancestors_are_all_those_above_by_an_independent_walk(program: Program, finished: Done) -> None:
    answer = program("lineage", "tiny", "--ancestors", "--depth", "0", "--json", "--home", finished.home)
    tree = json.loads(answer.out)
    champion = finished.summary["individual"]
    assert tree["individual"] == champion
    names = {relative["individual"] for relative in tree["relatives"]}
    assert names == above(parents_of(finished.home), champion) | {champion}


def test_name_block_and_individual_lead_to_the_same_tree(program: Program, finished: Done) -> None:
    targets = ("tiny", "tiny@lite", finished.summary["champion"][:12], finished.summary["individual"][:12])
    answers = {program("lineage", target, "--json", "--home", finished.home).out for target in targets}
    assert len(answers) == 1


def test_descendants_turn_ancestors_around(program: Program, finished: Done) -> None:
    parents = parents_of(finished.home)
    oldest = min(above(parents, finished.summary["individual"]), key=lambda name: len(above(parents, name)))
    answer = program("lineage", oldest, "--descendants", "--depth", "0", "--json", "--home", finished.home)
    names = {relative["individual"] for relative in json.loads(answer.out)["relatives"]}
    assert names == {name for name in parents if oldest in above(parents, name)} | {oldest}


def test_the_tree_is_printed_with_operators_and_scores(program: Program, finished: Done) -> None:
    answer = program("lineage", "tiny", "--home", finished.home)
    assert answer.code == 0
    assert answer.out.splitlines()[0].startswith(finished.summary["individual"][:12])
    assert "distil" in answer.out
    assert "ancestors; accuracy is that of validation" in answer.out


def test_a_recipe_tells_everything_that_making_it_again_needs(program: Program, finished: Done) -> None:
    recipe = json.loads(program("lineage", "tiny", "--recipe", "--json", "--home", finished.home).out)
    assert recipe["operator"] == "distil"
    assert recipe["settings"]["steps"] == 10
    assert [entry["parent"] for entry in recipe["parents"]] == sorted(parents_of(finished.home)[recipe["individual"]])
    text = program("lineage", "tiny", "--recipe", "--home", finished.home).out
    assert recipe["weights_digest"] in text


def test_two_directions_at_once_are_refused(program: Program, finished: Done) -> None:
    answer = program("lineage", "tiny", "--ancestors", "--kin", "--home", finished.home)
    assert answer.code == 2
    assert "choose one of --ancestors and --kin" in answer.err


def test_rebuild_makes_the_champion_again_to_the_same_digest(program: Program, finished: Done) -> None:
    answer = program("rebuild", "tiny", "--json", "--home", finished.home)
    found = json.loads(answer.out)
    assert answer.code == 0
    assert found["same"] is True
    assert found["steps"] >= 1
