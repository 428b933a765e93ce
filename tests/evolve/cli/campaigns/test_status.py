from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evolve.home.home import Home
from evolve.reports.status import FIELDS, describe
from population.clock import ManualClock
from population.files.local_files import LocalFiles
from population.lineage import Commit, LineageReader, LineageWriter
from tests.evolve.cli.conftest import Done, Program, write_config
from tests.population.lineage.lineage_samples import sample_commit


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


def test_an_unfinished_campaign_is_described_without_reading_its_births(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.create(tmp_path / "h")
    handle = home.new_handle("tiny")
    write_config(home.campaign_dir(handle), stop={"generations": 3}).rename(home.campaign_dir(handle) / "config.yaml")
    extended = {"event": "extended", "evaluations": None, "generations": 8}
    carried = {"event": "continued_inexactly", "environment": "other", "digests": {}}
    marked = {"event": "marked", "state": "failed", "reason": "every candidate failed"}
    with LineageWriter(LocalFiles(), home.root, handle, ManualClock()) as writer:
        for step in range(2):
            writer.commit(replace(sample_commit(step, handle=handle), events=({"event": "begin"},)))
        writer.seal()
        writer.commit(Commit(2, (), (extended, carried)))
        writer.commit(replace(sample_commit(3, handle=handle), events=()))
        writer.commit(Commit(4, (), (marked,), {"campaigns": [{"campaign": handle, "state": "failed"}]}))

    def refused(*_: Any) -> None:
        raise AssertionError("the whole lineage was read")

    with monkeypatch.context() as patch:
        patch.setattr(LineageReader, "content_hash", refused)
        patch.setattr(LineageReader, "commits", refused)
        entry = describe(home, handle, with_lineage=False)
    assert (entry["state"], entry["reason"], entry["inexact"]) == ("failed", "every candidate failed", 1)
    assert (entry["generations"], entry["evaluations"], entry["lineage"]) == (3, 64, None)
    assert entry["best"] == {"accuracy": 0.503, "cross_entropy": 0.0}
    assert entry["share"] == 3 / 9  # eight generations beyond the first one
    assert describe(home, handle) == entry | {"lineage": home.lineage_reader().content_hash(handle)}


def test_a_home_without_campaigns_says_so(program: Program, tmp_path: Path) -> None:
    Home.create(tmp_path / "h")
    answer = program("status", "--home", tmp_path / "h")
    assert answer.code == 0
    assert "no campaigns yet" in answer.err
