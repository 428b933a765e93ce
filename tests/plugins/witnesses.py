"""Installs the witnesses: code of another package that notes where it runs, and rows whose held-out labels it knows.

Nouns: *scene* (a folder with the package, the rows, and the configs of campaigns that use both).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evolve.config.campaign import check_config
from evolve.planning.plan import benchmark_of
from tests.plugins.test_example_package import with_package

PACKAGE = Path(__file__).parent / "witness_package"
ENTRY_POINTS = "[evolve.operations]\nwitness = witness\n\n[evolve.operators]\nwitness_flip = witness\n"
SECTION = {"workers": 1, "address": "local", "accept_level": "none"}
GRAPH: dict[str, Any] = {
    "inputs": {"x": {"shape": [6], "dtype": "float32"}},
    "symbols": {"hidden": 8},
    "nodes": [
        {"name": "fc", "op": "linear", "inputs": ["x"], "out": "hidden"},
        {"name": "act", "op": "witness", "inputs": ["fc"]},
        {"name": "head", "op": "linear", "inputs": ["act"], "out": 3},
    ],
    "outputs": {"label": "head"},
}
POLICY: dict[str, Any] = {
    "inputs": {"observation": {"shape": [2], "dtype": "float32"}},
    "symbols": {"hidden": 4},
    "nodes": [
        {"name": "fc", "op": "linear", "inputs": ["observation"], "out": "hidden"},
        {"name": "act", "op": "witness", "inputs": ["fc"]},
        {"name": "head", "op": "linear", "inputs": ["act"], "out": 1},
    ],
    "outputs": {"action": "head"},
}


@dataclass(frozen=True)
class Scene:
    """The folder of a scene. site: where the package lies, to import from."""

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process in which the package is installed."""
        return with_package(self.site)

    def traces(self) -> dict[str, str]:
        """What was noted outside a jail: the name of each file with its text."""
        return {path.name: path.read_text() for path in sorted((self.site / "traces").iterdir())}

    def write(self, name: str, values: dict[str, Any]) -> Path:
        """Writes a config and returns its path."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path


def make_scene(folder: Path) -> Scene:
    """Returns a scene in a folder: the package is installed, the rows are written, the package knows the labels' digests."""
    scene = Scene(folder)
    shutil.copytree(PACKAGE, scene.site, ignore=shutil.ignore_patterns("__pycache__"))
    (scene.site / "traces").mkdir()
    (scene.site / "traces").chmod(0o777)
    installed = scene.site / "witness_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: witness-package\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(ENTRY_POINTS)
    generator = np.random.Generator(np.random.Philox(12))
    inputs = generator.normal(size=(240, 6)).astype(np.float32)
    labels = (inputs[:, :3] * 2 + generator.normal(size=(240, 3)) * 0.3).argmax(axis=1)
    np.savez(folder / "rows.npz", x=inputs, label=labels)
    benchmark = benchmark_of(check_config({**rows_config(scene, own=False), "graph": {"template": "mlp"}}))
    known = [benchmark.targets_of("heldout")[0], benchmark.targets[0].values]
    digests = {array.nbytes: blake2b(array.tobytes()).hexdigest() for array in known}
    (scene.site / "known.json").write_text(json.dumps(digests))
    return scene


def rows_config(scene: Scene, *, own: bool = True, **changes: Any) -> dict[str, Any]:
    """Returns a campaign over the witness operation; with the witness operator and, if ``own``, the fitness function."""
    values: dict[str, Any] = {
        "name": "witnessed",
        "data": {"path": str(scene.folder / "rows.npz"), "target": "label"},
        "graph": GRAPH,
        "strategy": {"kind": "ga", "population": 4},
        "objectives": ["accuracy"],
        "operators": {"burst": {"settings": {"steps": 10, "batch": 32}}, "gaussian": {}},
        "exploration": 1.0,
        "stop": {"generations": 2},
        "tiers": {"fractions": {"lite": 0.5, "ultimate": 1.0}, "distil": {"steps": 4, "batch": 32}, "finalists": 1},
        "gates": [{"tier": "lite", "when": "confidence(label) > 0.9"}],
        "keyframe": 100,
        "promote": {"name": "witnessed", "floors": {"ultimate": 0.0}, "margin": 0.9},
        "run": SECTION,
    }
    if own:
        values["operators"]["witness_flip"] = {}
        values["fitness"] = {"file": str(scene.site / "own.py"), "names": {"right": "max", "reach": "min"}}
        values["objectives"] = ["right"]
    return {**values, **changes}


def episodes_config(**changes: Any) -> dict[str, Any]:
    """Returns a campaign of policies with the witness operation and operator in the witness environment."""
    values: dict[str, Any] = {
        "name": "drift",
        "benchmark": {
            "environment": {
                "id": "witness_world:WitnessDrift-v0",
                "episodes": {"train": 2, "validation": 2, "heldout": 2},
            }
        },
        "graph": POLICY,
        "strategy": {"kind": "ga", "population": 4},
        "objectives": ["return"],
        "operators": {"gaussian": {}, "witness_flip": {}},
        "exploration": 1.0,
        "stop": {"generations": 2},
        "tiers": None,
        "keyframe": 100,
        "promote": {"name": "drift", "floors": {"ultimate": -1000.0}, "margin": 1000.0},
        "run": SECTION,
    }
    return {**values, **changes}
