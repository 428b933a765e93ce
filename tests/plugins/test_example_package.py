"""A complete package of another author, really installed: its four things are known by their names, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.evolve.cli.conftest import environment, run_apart

PACKAGE = Path(__file__).parent / "example_package"
CONFIG = {
    "name": "spirals",
    "benchmark": {"dataset": "spirals"},
    "graph": {
        "inputs": {"point": {"shape": [2]}},
        "symbols": {"h": 16},
        "nodes": [
            {"name": "fc", "op": "linear", "inputs": ["point"], "out": "h"},
            {"name": "act", "op": "sine", "inputs": ["fc"], "frequency": 3},
            {"name": "head", "op": "linear", "inputs": ["act"], "out": 2},
        ],
        "outputs": {"logits": "head"},
    },
    "objectives": ["accuracy"],
    "strategy": {"kind": "climb", "population": 4},
    "operators": {"flip": {"settings": {"rate": 0.05}}, "burst": {"settings": {"steps": 60, "learning_rate": 0.01}}},
    "stop": {"generations": 4},
    "tiers": None,
    "run": {"workers": 1, "address": "local", "accept_level": "none"},
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the package, without asking any network."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(PACKAGE, folder / "source")  # building writes beside the source
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def with_package(site: Path) -> dict[str, str]:
    known = environment()
    return {**known, "PYTHONPATH": os.pathsep.join([known["PYTHONPATH"], str(site)])}


@pytest.mark.slow
def test_a_campaign_uses_all_four_from_the_command_line(installed: Path, tmp_path: Path) -> None:
    config, home = tmp_path / "spirals.yaml", tmp_path / "home"
    config.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    answer = run_apart("run", config, "--json", "--home", home, env=with_package(installed))
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    assert summary["evaluations"] == 16
    assert summary["scores"]["ultimate"]["accuracy"] > 0.9
    asked = "SELECT operator, count(*) AS births FROM individuals GROUP BY 1 ORDER BY 1"
    births = run_apart("query", asked, "--format", "json", "--home", home)
    assert [row["operator"] for row in json.loads(births.out)] == ["burst", "flip", "init"]
    rebuilt = run_apart("rebuild", summary["individual"], "--json", "--home", home, env=with_package(installed))
    assert json.loads(rebuilt.out)["same"] is True
    told = run_apart("blocks", "show", summary["champion"], "--home", home)
    assert (told.code, "sine" in told.err) == (2, True)  # where the package is not installed, what is missing is named


def test_the_names_are_known_where_it_is_installed_and_nowhere_else(installed: Path) -> None:
    program = """
from evolve import operators, strategies
from fitness.benchmarks import registry as datasets
from population.operations import get

points = datasets.load("spirals").inputs["point"]
print(get("sine").is_plugin, operators.get("flip").is_plugin, strategies.get("climb").kind, len(points))
"""
    command = [sys.executable, "-c", program]
    known = subprocess.run(
        command, env=with_package(installed), capture_output=True, text=True, check=True, timeout=120
    )
    assert known.stdout.split() == ["True", "True", "climb", "600"]
    unknown = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert "no benchmark is named 'spirals'" in unknown.stderr
