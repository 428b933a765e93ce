"""``evolve.run`` in a home does what the command does; in memory it needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import evolve
from evolve.home.home import Home
from population.errors import ConfigError
from tests.evolve import small
from tests.evolve.cli.conftest import CONFIG, Done


def test_a_campaign_in_a_home_is_kept_promoted_and_found_done(finished: Done, tmp_path: Path) -> None:
    said: list[str] = []
    seen: list[int] = []
    asked: dict[str, Any] = {"home": tmp_path / "h", "promote": "other", "say": said.append}
    found = evolve.run(CONFIG, progress=lambda progress: seen.append(progress.evaluations), **asked)
    assert {name: found.summary[name] for name in ("population", "lineage", "champion")} == {
        name: finished.summary[name] for name in ("population", "lineage", "champion")
    }
    assert found.champion is not None
    assert found.decision is not None
    assert (found.champion.id, found.decision.decision) == (found.summary["champion"], "promoted")
    assert seen[-1] == found.summary["evaluations"]
    home = Home.open(tmp_path / "h")
    head = home.heads().current("other")
    assert head is not None
    assert head.block == found.champion.id
    assert home.summary_of("tiny") == {**finished.summary, **_own(found.summary)}
    assert len(found.commits) == home.lineage_reader().next_step("tiny")
    assert any("the gate: is the champion fit" in text for text in said)
    again = evolve.run(CONFIG, **asked)
    assert again.summary["already_done"]
    assert again.decision is not None
    assert again.decision.decision == "already there"


def _own(summary: Any) -> dict[str, Any]:
    """Returns what differs between two homes."""
    return {name: summary[name] for name in ("home", "seconds")}


def test_a_head_and_a_home_s_data_are_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="a head lies in a home"):
        evolve.run(CONFIG, promote="tiny")
    with pytest.raises(ConfigError, match="name them in the config"):
        evolve.run(CONFIG, small.rows(), home="nowhere")
    assert not Path("nowhere").exists()
