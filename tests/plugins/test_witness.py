"""Nothing of a stranger's runs on data outside a jail, and no held-out label is in its reach: every piece notes where it runs.

Operation, operator, fitness function, environment and module are those of ``witness_package``; a trace is a file that only
code outside a jail can leave.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from evolve import baselines
from evolve.cli import app
from evolve.config import check_config
from evolve.exchange.exporting import export_block
from evolve.foreign import running
from evolve.infer import answer_of
from evolve.plan import Plan, make_plan
from evolve.rebuild import read_records, rebuild_rows
from evolve.serving import BlockModel
from fitness.inprocess import InProcessEvaluator
from fitness.judge import SubprocessJudge
from population.block import TensorBlock
from population.clock import ManualClock
from population.errors import InputError
from population.lineage.records import Commit
from tests.evolve import small
from tests.evolve.cli.conftest import Answer, run_apart
from tests.plugins.witnesses import Scene, episodes_config, make_scene, rows_config

#: Commands that run no campaign's code, and would wait for somebody or serve; and what cannot be asked of this home.
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
    config = check_config(rows_config(scene, operators={"gaussian": {}, "witness_flip": {}}, own=False, tiers=None))
    plan = make_plan(config.model_copy(update={"gates": ()}))
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
from evolve.config import check_config
from evolve.plan import make_plan
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
    served = BlockModel(played[2]).predict(rows(7))
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
    found = baselines.compute(check_config(rows_config(scene, own=False)))[0]
    assert (found.name, found.missing) == ("the same network, plainly trained", "")
    assert 0.6 < found.scores["heldout"] <= 1.0
    assert scene.traces() == {}


# ---- through the program: every command, on campaigns that use all of it ---------------------------------------------


class Session:
    """Calls of the program in one home, by people who have the package installed; which commands were called."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.home, self.called = scene, scene.folder / "home", set[str]()

    def __call__(self, *arguments: str | Path, wanted: tuple[int, ...] = (0,)) -> Answer:
        """Calls a command; it ends with one of the wanted codes, and leaves no trace."""
        names = [name for name in _commands() if list(map(str, arguments))[: len(name.split())] == name.split()]
        self.called.update(names)
        env = {**self.scene.environment, "MLFLOW_TRACKING_URI": ""}
        home = [] if arguments[0] == "doctor" else ["--home", self.home]
        answer = run_apart(*arguments, *home, env=env, cwd=self.scene.folder, timeout_s=600)
        assert answer.code in wanted, (arguments, answer.out[-2000:], answer.err[-2000:])
        assert "Traceback" not in answer.err
        assert self.scene.traces() == {}, arguments
        return answer

    def json(self, *arguments: str | Path, wanted: tuple[int, ...] = (0,)) -> Any:
        """Returns what a command prints with --json."""
        return json.loads(self(*arguments, "--json", wanted=wanted).out.splitlines()[-1])


def _commands(program: typer.Typer = app.app, before: str = "") -> list[str]:
    """The names of all commands of the program."""
    own = [f"{before}{c.name or c.callback.__name__}" for c in program.registered_commands if c.callback]
    groups = ((group.typer_instance, f"{before}{group.name} ") for group in program.registered_groups)
    return [*own, *(name for inner, start in groups if inner for name in _commands(inner, start))]


def _check_scores(session: Session) -> None:
    """All candidates were judged, and no fitness function found held-out labels where it scored others."""
    asked = "SELECT (SELECT count(*) FROM quarantine) AS failed, (SELECT coalesce(max(value), 0) FROM scores "
    asked += "WHERE objective = 'reach' AND split <> 'heldout') AS reach"
    assert json.loads(session("query", asked, "--format", "json").out) == [{"failed": 0, "reach": 0.0}]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_no_command_runs_anything_of_a_stranger_outside_a_jail(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    call = Session(scene)
    config = scene.write("rows", rows_config(scene))
    page = call("run", config).out
    assert "the same network, plainly trained" in page
    assert "missing" not in page
    _check_scores(call)
    summary = call.json("run", config)
    champion = summary["champion"]
    assert call.json("rebuild", summary["individual"])["same"] is True
    _ask_all(call, summary, tmp_path)
    call("resume", "witnessed", "--generations", "+1")
    call("fork", "witnessed@2", "stop.generations=1")
    call("promote", champion, "--name", "other", "--accept-level", "none", wanted=(0, 1))
    call("rollback", "witnessed", wanted=(0, 2))
    tune = {"trials": 2, "startup": 1, "ranges": {"exploration": {"low": 0.2, "high": 0.9}}, "pruner": {"kind": "none"}}
    call("tune", scene.write("tune", rows_config(scene, name="tuned", tune=tune)))
    _improve(call, scene)
    _play(call, scene)
    call("upgrade")
    call("purge", "witnessed-fork", "--yes", wanted=(0, 1, 2))
    call("doctor", wanted=(0, 3))
    assert set(_commands()) - call.called <= WITHOUT_DATA


def _ask_all(call: Session, summary: dict[str, Any], folder: Path) -> None:
    """What looks at a finished campaign, or runs its champion."""
    np.savez(folder / "new.npz", **rows())
    for tier in ("lite", "ultimate", "auto"):
        found = call.json("infer", "witnessed", "--tier", tier, "--input", folder / "new.npz", "--accept-level", "none")
        assert len(found["outputs"]["label"]) == 5
    call("blocks", "export", "witnessed", "--format", "safetensors", "--accept-level", "none")
    call("blocks", "export", "witnessed", "--format", "onnx", wanted=(2,))
    call("blocks", "import", "witnessed.safetensors")
    for arguments in (("blocks", "list"), ("blocks", "show", summary["champion"]), ("heads",), ("status",)):
        call(*arguments)
    call("report", "witnessed")
    call("lineage", "witnessed", "--ancestors")
    call("quarantine", "list")
    call("fsck", "lineage")


def _improve(call: Session, scene: Scene) -> None:
    """A module is taken in, by itself and as the beginning of a campaign."""
    net = scene.site / "net.py"
    call("blocks", "import", net, "--input", "x=6", "--with", "witness", "--accept-level", "none")
    model = {"path": str(net), "modules": ["witness"]}
    changes: dict[str, Any] = {"name": "improved", "model": model, "gates": []}
    values = rows_config(scene, **changes)
    values["promote"] = {**values["promote"], "name": "improved"}
    del values["graph"]
    assert "the same network, plainly trained" in call("run", scene.write("improve", values)).out


def _play(call: Session, scene: Scene) -> None:
    """A campaign of policies in a user's own environment."""
    page = call("run", scene.write("episodes", episodes_config())).out
    assert "random actions" in page
    assert "missing" not in page
    _check_scores(call)
    asked = "SELECT individual FROM individuals WHERE campaign = 'drift' ORDER BY event DESC LIMIT 1"
    (last,) = json.loads(call("query", asked, "--format", "json").out)
    assert call.json("rebuild", last["individual"])["same"] is True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nor_does_ray(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    call = Session(scene)
    page = call("run", scene.write("rows", rows_config(scene)), "--address", "").out
    assert "the same network, plainly trained" in page
    _check_scores(call)


def _tensors(data: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in data.items()}
