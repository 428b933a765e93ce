from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from evolve import doctor
from evolve.home.home import Home


def found(home: Path, **others: bool) -> dict[str, doctor.MachineCheck]:
    return {check.name: check for check in doctor.examine(home, **others)}


def test_a_quick_examination_starts_nothing_and_makes_no_home(tmp_path: Path) -> None:
    checks = found(tmp_path / "h", is_quick=True)
    assert not (tmp_path / "h").exists()
    assert {"Python", "packages", "cores", "memory", "disk", "GPU", "home", "MLflow"} <= set(checks)
    assert "none yet" in checks["home"].found


def test_the_judge_is_tried_with_a_tiny_block() -> None:
    judge, jail = doctor._judge()
    assert judge.state == "ok", judge
    assert jail.name == "jail"
    assert re.search(r"sandbox level (full|reduced|none)", jail.found), jail
    assert (jail.state == "ok") == ("level full" in jail.found)


def test_a_judge_that_does_not_start_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from population.errors import EvaluatorFailed

    def refuse(*_: object) -> None:
        raise EvaluatorFailed("no processes here")

    monkeypatch.setattr("evolve.promotion.heldout.look", refuse)
    (check,) = doctor._judge()
    assert (check.state, check.found) == ("missing", "no processes here")
    assert check.remedy


def test_a_package_that_is_not_installed_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-package"))
    monkeypatch.setattr(doctor, "HANDY", {"no-such-extra": "works without"})
    checks = {check.name: check for check in doctor._versions()}
    assert checks["no-such-package"].state == "missing"
    assert checks["no-such-extra"].state == "note"
    assert "pip install no-such-extra (works without)" in checks["no-such-extra"].remedy


def test_a_home_that_is_not_usable_is_told(tmp_path: Path) -> None:
    Home.create(tmp_path / "h")
    (tmp_path / "h" / "VERSION").chmod(0o644)
    (tmp_path / "h" / "VERSION").write_text('{"version": 7}')
    check = found(tmp_path / "h", is_quick=True)["home"]
    assert check.state == "missing"
    assert "newer" in check.remedy


def test_memory_is_what_the_system_has_or_less_where_a_control_group_allows_less(monkeypatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5 << 30))
    monkeypatch.setattr(doctor, "_limit", lambda file: None)
    assert doctor._available_bytes() == 5 << 30
    monkeypatch.setattr(doctor, "_limit", lambda file: 3 << 30 if file == "memory.max" else None)
    assert doctor._available_bytes() == 3 << 30


def test_memory_that_the_system_hides_is_not_told(monkeypatch) -> None:
    def hidden() -> None:
        raise FileNotFoundError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", hidden)
    assert doctor._memory().state == "note"
