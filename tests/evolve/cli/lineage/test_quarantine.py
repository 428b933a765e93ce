from __future__ import annotations

import json
from pathlib import Path

import pytest

from evolve.driver import launch as launching
from fitness.evaluators.in_process import InProcessEvaluator
from tests.evolve import small, whole
from tests.evolve.cli.conftest import Done, Program


def test_what_failed_is_listed_with_its_reason(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))
    whole.run_in(tmp_path / "h", "init.gain=1e39", "stop.generations=1")
    found = json.loads(program("quarantine", "list", "--json", "--home", tmp_path / "h").out)
    assert len(found) == 6
    assert {tuple(row) for row in found} == {("individual", "verdict", "detail", "campaign", "generation")}
    assert {row["campaign"] for row in found} == {whole.HANDLE}
    assert json.loads(program("quarantine", "list", whole.HANDLE, "--json", "--home", tmp_path / "h").out) == found
    text = program("quarantine", "list", "--home", tmp_path / "h").out
    assert found[0]["individual"][:12] in text
    assert found[0]["verdict"] in text


def test_an_empty_quarantine_says_so(program: Program, finished: Done) -> None:
    answer = program("quarantine", "list", "tiny", "--home", finished.home)
    assert (answer.code, answer.out) == (0, "")
    assert "nothing is in quarantine" in answer.err
    assert program("quarantine", "list", "tiny' OR 1=1", "--home", finished.home).code == 2
