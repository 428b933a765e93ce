from __future__ import annotations

from pathlib import Path

import pytest

from evolve import baselines
from evolve.baselines import Baseline, baselines_of
from evolve.config import CampaignConfig, check_config
from evolve.home import Home
from tests.evolve.cli.conftest import CONFIG


def test_a_plainly_trained_network_and_two_classical_methods_learn_digits() -> None:
    found = baselines.compute(check_config(CONFIG))
    assert [baseline.name for baseline in found] == [
        "the same network, plainly trained", "logistic regression", "support vector machine (SVC)"
    ]  # fmt: skip
    for baseline in found:
        for split in ("validation", "heldout"):
            assert 0.85 < baseline.scores[split] < 1.0
    assert found[0].flops is not None


def test_baselines_are_computed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.create(tmp_path / "h")
    handle = home.new_handle("c")
    calls = []

    def compute(config: CampaignConfig) -> list[Baseline]:
        calls.append(config)
        return [Baseline("x", {"validation": 0.5, "heldout": 0.25}, 7)]

    monkeypatch.setattr(baselines, "compute", compute)
    config = check_config(CONFIG)
    assert baselines_of(config, home, handle) == baselines_of(config, home, handle)
    assert len(calls) == 1
    path = home.campaign_dir(handle) / "baselines.json"
    path.chmod(0o644)
    path.write_text("[{}]")  # of another version, or damaged: made anew
    baselines_of(config, home, handle)
    assert len(calls) == 2
