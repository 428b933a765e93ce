"""The program as tests call it: within this process, or as a process of its own; and one campaign that it has finished."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from evolve.cli import call as run_program

ROOT = Path(__file__).resolve().parents[3]
CONFIG: dict[str, Any] = {
    "name": "tiny",
    "benchmark": {"dataset": "digits"},
    "graph": {
        "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}},
        "symbols": {"hidden": 16},
        "filters": {"image": [{"name": "scale", "op": "multiply", "inputs": ["image"], "value": 0.0625}]},
        "nodes": [
            {"name": "flat", "op": "flatten", "inputs": ["image"]},
            {"name": "fc", "op": "linear", "inputs": ["flat"], "out": "hidden"},
            {"name": "act", "op": "relu", "inputs": ["fc"]},
            {"name": "head", "op": "linear", "inputs": ["act"], "out": 10},
        ],
        "outputs": {"logits": "head"},
    },
    "objectives": ["accuracy"],
    "strategy": {"kind": "ga", "population": 4},
    "operators": {"burst": {"settings": {"steps": 10, "batch": 32}}, "gaussian": {}},
    "stop": {"generations": 3},
    "tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "distil": {"steps": 10, "batch": 32}, "finalists": 1},
    "gates": [{"tier": "lite", "when": "confidence(logits) > 0.2"}],
    "promote": {"name": "tiny", "floors": {"ultimate": 0.1}},
    "run": {"workers": 1, "address": "local"},
}


@dataclass(frozen=True)
class Answer:
    """What came of a call of the program."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Done:
    """A finished campaign: its home, the config it was made from, and the object that `evolve run --json` printed."""

    home: Path
    config: Path
    summary: Mapping[str, Any]


Program = Callable[..., Answer]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a process of its own; it talks to nobody."""
    kept = {k: v for k, v in os.environ.items() if k not in ("EVOLVE_HOME", "MLFLOW_TRACKING_URI", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **changes}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "evolve", *map(str, arguments)]


def run_apart(*arguments: str | Path, timeout_s: float = 240, **others: Any) -> Answer:
    """Calls the program as a process of its own."""
    env = others.pop("env", environment())
    done = subprocess.run(
        command(*arguments), env=env, capture_output=True, text=True, timeout=timeout_s, check=False, **others
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    """Calls the program within this process, in an empty folder; commands that start trackers are better run apart."""
    for name in ("EVOLVE_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["evolve", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_program()
        captured = capfd.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call


def write_config(folder: Path, **changes: Any) -> Path:
    """Writes the tiny config, with some of its sections replaced."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}, sort_keys=False))
    return path


def run_tiny(folder: Path) -> Done:
    """Runs the tiny campaign in a home below a folder, and promotes its champion."""
    config, home = write_config(folder), folder / "home"
    answer = run_apart("run", config, "--json", "--home", home)
    assert answer.code == 0, answer.err
    return Done(home, config, json.loads(answer.out.splitlines()[-1]))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The tiny campaign, run once for all tests; they leave it as it is."""
    return run_tiny(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def own_home(finished: Done, tmp_path: Path) -> Path:
    """A copy of the finished campaign's home, to be changed."""
    return Path(shutil.copytree(finished.home, tmp_path / "own"))
