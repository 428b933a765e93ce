from __future__ import annotations

import json
from pathlib import Path

import pytest

from evolve.doctor import MachineCheck
from tests.evolve.cli.conftest import Done, Program


def test_a_quick_examination_finds_what_is_here(program: Program, finished: Done) -> None:
    answer = program("doctor", "--quick", "--json", "--home", finished.home)
    assert answer.code == 0
    value = json.loads(answer.out)
    assert value["ok"] is True
    found = {check["name"]: check for check in value["checks"]}
    assert "torch" in found["packages"]["found"]
    assert "1 done" in found["home"]["found"]
    assert "judge process" not in found


def test_what_is_missing_ends_with_3_and_its_remedy(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evolve.doctor.examine", lambda *_, **__: iter([MachineCheck("torch", "missing", "-", "pip install torch")])
    )
    answer = program("doctor", "--home", tmp_path / "h")
    assert answer.code == 3
    assert "pip install torch" in answer.out
    assert "MISSING" in answer.out
