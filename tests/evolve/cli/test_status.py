from __future__ import annotations

import json
from pathlib import Path

from evolve.cli.status import FIELDS
from evolve.home import Home
from tests.evolve.cli.conftest import Done, Program, write_config


def test_status_is_a_list_of_the_objects_that_runs_print(program: Program, finished: Done) -> None:
    (entry,) = json.loads(program("status", "--json", "--home", finished.home).out)
    assert {name: entry[name] for name in FIELDS} == {name: finished.summary[name] for name in FIELDS}


def test_a_campaign_that_never_began_is_interrupted_and_says_how_to_go_on(program: Program, tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    folder = home.campaign_dir(home.new_handle("tiny"))
    write_config(folder).rename(folder / "config.yaml")
    (entry,) = json.loads(program("status", "--json", "--home", home.root).out)
    assert set(FIELDS) <= set(entry)
    assert (entry["state"], entry["evaluations"], entry["champion"]) == ("interrupted", 0, None)
    answer = program("status", "--home", home.root)
    assert "resume tiny" in answer.err


def test_a_home_without_campaigns_says_so(program: Program, tmp_path: Path) -> None:
    Home.create(tmp_path / "h")
    answer = program("status", "--home", tmp_path / "h")
    assert answer.code == 0
    assert "no campaigns yet" in answer.err
