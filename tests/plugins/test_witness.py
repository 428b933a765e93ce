"""Nothing of a stranger's runs on data outside a jail, and no held-out label is in its reach: every piece notes where it runs.

Operation, operator, fitness function, environment and module are those of ``witness_package``; a trace is a file that only
code outside a jail can leave.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from evolve.cli import app
from evolve.config.campaign import check_config
from evolve.models.export import export_block
from evolve.planning.foreign_code import running
from evolve.planning.plan import Plan, make_plan
from evolve.recovery.rebuild import read_records, rebuild_rows
from evolve.reports import baselines
from evolve.runtime.answer import answer_of
from evolve.runtime.mlflow_model import BlockModel
from fitness.evaluators.in_process import InProcessEvaluator
from fitness.judges.judge import SubprocessJudge
from population.blocks.block import TensorBlock
from population.clock import ManualClock
from population.errors import InputError
from population.lineage.format.records import Commit
from tests.evolve import small
from tests.evolve.cli.conftest import Answer, run_apart
from tests.plugins.witnesses import Scene, episodes_config, make_scene, rows_config

#: Commands that run nothing, or serve or wait for somebody who does.
WITHOUT_DATA = {"ui", "watch", "pause", "stop", "blocks new", "blocks templates"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene whose package this process can import too."""
    made = make_scene(tmp_path_factory.mktemp("scene"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(made.site))
        importlib.import_module("witness")
        yield made


@pytest.fixture(scope="module")
def played(scene: Scene) -> tuple[Plan, list[Commit], TensorBlock]:
    """A campaign over the witness operation and operator, played with a jailed judge."""
    changes = {
        "operators": {"witness_flip": {}},
        "strategy": {"kind": "ga", "population": 3},
        "tiers": None,
        "gates": [],
    }
    plan = make_plan(check_config(rows_config(scene, own=False, **changes)))
    judge = SubprocessJudge(plugins=plan.plugins)
    evaluator = InProcessEvaluator(plan.benchmark, small.MATERIALISE, judge=judge, plugins=plan.plugins)
    _, commits, shelf = small.play(plan, evaluator=evaluator)
    assert shelf.block is not None
    return plan, commits, shelf.block


def rows(count: int = 5) -> dict[str, Any]:
    return {"x": np.cos(np.arange(count * 6, dtype=np.float32)).reshape(count, 6)}


# ---- the witnesses can be believed ------------------------------------------------------------------------------------

OUTSIDE = """
import sys, torch
from evolve.config.campaign import check_config
from evolve.planning.plan import make_plan
from tests.plugins.witnesses import Scene, rows_config
from pathlib import Path

if sys.argv[2] == "labels":
    make_plan(check_config(rows_config(Scene(Path(sys.argv[1])), own=False)))  # the last rows that were read are kept
import witness
from population.operations import Call
try:
    witness.run(Call((torch.zeros(1, 1, 1),), {}, {}))
    print("nothing found")
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("held", "said"),
    [
        pytest.param("nothing", "nothing found", marks=pytest.mark.slow),
        ("labels", "operation finds held-out labels"),
    ],
)
def test_outside_a_jail_a_witness_leaves_a_trace_and_finds_what_is_in_reach(
    tmp_path: Path, held: str, said: str
) -> None:
    own = make_scene(tmp_path)
    command = [sys.executable, "-c", OUTSIDE, str(own.folder), held]
    found = subprocess.run(command, env=own.environment, capture_output=True, text=True, timeout=120, check=False)
    assert (found.stdout.strip(), found.stderr) == (said, "")
    assert [name.partition("-")[0] for name in own.traces()] == ["operation"]


# ---- in this process: what commands are made of ----------------------------------------------------------------------


def test_a_campaign_is_judged_and_rebuilt_without_a_trace(
    scene: Scene, played: tuple[Plan, list[Commit], TensorBlock]
) -> None:
    plan, commits, _ = played
    records = read_records(plan, commits)
    assert {record.recipe.operator for record in records.values()} >= {"init@1", "witness_flip@1"}
    verdicts = [verdict for commit in commits for births in commit.births for verdict in births.verdict]
    assert set(verdicts) == {"ok"}
    rebuilt = rebuild_rows(plan, records, list(records))
    assert rebuilt.digests == {event: record.digest for event, record in records.items()}
    assert scene.traces() == {}


def test_a_block_is_run_in_a_jail_to_the_bits_that_it_has_outside(
    scene: Scene, played: tuple[Plan, list[Commit], TensorBlock], monkeypatch: pytest.MonkeyPatch
) -> None:
    block = played[2]
    with running(block) as run:
        found = answer_of(block, "cid", "ultimate", _tensors(rows(1500)), ManualClock(), run)
    assert scene.traces() == {}
    monkeypatch.setattr(importlib.import_module("witness"), "note", lambda what: None)
    outside = answer_of(block, "cid", "ultimate", _tensors(rows(1500)), ManualClock())
    assert found["outputs"] == outside["outputs"]


@pytest.mark.slow
def test_mlflow_is_answered_by_a_jail(scene: Scene, played: tuple[Plan, list[Commit], TensorBlock]) -> None:
    served = BlockModel(played[2], running).predict(rows(7))
    with running(played[2]) as run:
        assert served.tolist() == run(played[2], _tensors(rows(7)))["label"].tolist()
    assert scene.traces() == {}


@pytest.mark.parametrize("kind", ["onnx", "torch", pytest.param("safetensors", marks=pytest.mark.slow)])
def test_an_export_runs_nothing_outside(
    scene: Scene, played: tuple[Plan, list[Commit], TensorBlock], kind: str
) -> None:
    if kind == "safetensors":
        assert export_block(played[2], kind, "copy").largest_difference == 0.0
    else:
        with pytest.raises(InputError, match="operation 'witness' is code of another package"):
            export_block(played[2], kind, "copy")
    assert scene.traces() == {}


def test_the_plainly_trained_network_is_made_and_judged_without_a_trace(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(baselines.PLAIN_SETTINGS, "steps", 200)
    found = baselines.compute(make_plan(check_config(rows_config(scene, own=False))))[0]
    assert (found.name, found.missing) == ("the same network, plainly trained", "")
    assert 0.6 < found.scores["heldout"] <= 1.0
    assert scene.traces() == {}


# ---- through the program: every command, on campaigns that use all of it ---------------------------------------------

#: Calls of the program by what they belong to, each with the exit codes that are right for it.
MATRIX: Mapping[str, Sequence[tuple[Sequence[int], str]]] = {
    "runs the champion": [
        ([0], "infer witnessed --tier lite --input {folder}/new.npz --accept-level none"),
        ([0], "infer witnessed --tier auto --input {folder}/new.npz --accept-level none --json"),
        ([0], "blocks export witnessed --format safetensors --accept-level none"),
        ([2], "blocks export witnessed --format onnx"),
        ([2], "blocks export witnessed --format torch"),
        ([0], "blocks import witnessed.safetensors"),
    ],
    "makes and judges again": [
        ([0], "rebuild {individual}"),
        ([0], "promote {champion} --name other --accept-level none"),
        ([0, 2], "rollback witnessed"),
    ],
    "goes on": [([0], "resume witnessed --generations +1"), ([0], "run {folder}/rows.yaml --again --json")],
    "forks": [([0], "fork witnessed@2 stop.generations=1"), ([0], "purge witnessed-fork --yes --force")],
    "tunes": [([0], "tune {folder}/tune.yaml")],
    "improves": [
        ([0], "blocks import {site}/net.py --input x=6 --with witness --accept-level none"),
        ([0], "run {folder}/improve.yaml"),
    ],
    "plays": [([0], "run {folder}/episodes.yaml"), ([0], "rebuild drift")],
    "looks": [
        ([0], "blocks list"),
        ([0], "blocks show {champion}"),
        ([0], "heads"),
        ([0], "status"),
        ([0], "report witnessed"),
        ([0], "lineage witnessed --ancestors"),
        ([0], "query FROM&quarantine"),
        ([0], "quarantine list"),
        ([0], "fsck lineage"),
        ([0], "store fsck"),
        ([0], "upgrade"),
        ([0, 3], "doctor"),
    ],
}
#: What a finished run shows of the baselines.
BASELINES = {"improve": "the same network, plainly trained", "episodes": "random actions"}


@dataclass(frozen=True)
class Program:
    """The program in one home, as people call it who have the package installed."""

    scene: Scene
    home: Path

    def __call__(self, *arguments: str, codes: Sequence[int] = (0,)) -> Answer:
        """Calls a command; it ends with one of these codes, and leaves no trace."""
        env = {**self.scene.environment, "MLFLOW_TRACKING_URI": ""}
        answer = run_apart(*arguments, "--home", self.home, env=env, cwd=self.scene.folder, timeout_s=280)
        assert answer.code in codes, (arguments, answer.out[-2000:], answer.err[-2000:])
        assert "Traceback" not in answer.err
        assert self.scene.traces() == {}, arguments
        return answer

    def check_scores(self) -> None:
        """All candidates were judged, and no fitness function found held-out labels where it scored others."""
        asked = "SELECT (SELECT count(*) FROM quarantine) AS failed, (SELECT coalesce(max(value), 0) FROM scores "
        asked += "WHERE objective = 'reach' AND split <> 'heldout') AS reach"
        assert json.loads(self("query", asked, "--format", "json").out) == [{"failed": 0, "reach": 0.0}]


@dataclass(frozen=True)
class Finished:
    """A finished campaign of a scene: its program, and the object that `evolve run --json` prints."""

    program: Program
    summary: Mapping[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The campaign that the other commands are asked about, with the configs of some more."""
    scene = make_scene(tmp_path_factory.mktemp("program"))
    program = Program(scene, scene.folder / "home")
    np.savez(scene.folder / "new.npz", **rows())
    scene.write("episodes", episodes_config())
    ranges = {"exploration": {"low": 0.2, "high": 1.0}}
    tune = {"trials": 2, "startup": 1, "ranges": ranges, "pruner": {"kind": "none"}}
    scene.write("tune", rows_config(scene, name="tuned", tune=tune))
    model = {"path": str(scene.site / "net.py"), "modules": ["witness"]}
    improve = rows_config(scene, name="improved", model=model, gates=[], tiers=None)
    scene.write("improve", {key: value for key, value in improve.items() if key != "graph"})
    config = str(scene.write("rows", rows_config(scene)))
    page = program("run", config).out
    assert "the same network, plainly trained" in page
    assert "missing" not in page
    program.check_scores()
    asked = (
        "SELECT (SELECT count(*) FROM individuals WHERE operator = 'witness_flip') AS flips, (SELECT max(value) FROM "
    )
    asked += "scores WHERE objective = 'reach' AND split = 'heldout') AS reach"
    (found,) = json.loads(program("query", asked, "--format", "json").out)
    assert found["flips"] > 0
    assert found["reach"] == 1.0  # what scores held-out rows is given their labels, and finds them: it can look
    return Finished(program, json.loads(program("run", config, "--json").out.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("group", MATRIX)
def test_no_command_runs_anything_of_a_stranger_outside_a_jail(finished: Finished, tmp_path: Path, group: str) -> None:
    scene, summary = finished.program.scene, finished.summary
    program = Program(scene, Path(shutil.copytree(finished.program.home, tmp_path / "home")))
    places = {"folder": scene.folder, "site": scene.site, **{key: summary[key] for key in ("champion", "individual")}}
    for codes, text in MATRIX[group]:
        answer = program(*(word.replace("&", " ") for word in text.format(**places).split()), codes=codes)
        for name, line in BASELINES.items():
            if f"{name}.yaml" in text:
                assert line in answer.out
                assert "missing" not in answer.out
    program.check_scores()


def test_every_command_is_called() -> None:
    called = {text for calls in MATRIX.values() for _, text in calls}
    left = {
        name for name in _commands() if not any(text.split()[: len(name.split())] == name.split() for text in called)
    }
    assert left == WITHOUT_DATA


def _commands(program: typer.Typer = app.app, before: str = "") -> list[str]:
    """The names of all commands of the program."""
    own = [f"{before}{c.name or c.callback.__name__}" for c in program.registered_commands if c.callback]
    groups = ((group.typer_instance, f"{before}{group.name} ") for group in program.registered_groups)
    return [*own, *(name for inner, start in groups if inner for name in _commands(inner, start))]


@pytest.mark.slow
def test_nor_does_ray(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    program = Program(scene, tmp_path / "home")
    page = program("run", str(scene.write("rows", rows_config(scene))), "--address", "").out
    assert "the same network, plainly trained" in page
    program.check_scores()


def _tensors(data: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in data.items()}
