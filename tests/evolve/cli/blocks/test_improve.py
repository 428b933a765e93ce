from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from evolve.config.campaign import check_config, load_config
from evolve.home.home import Home
from evolve.home.origins import leaves_of
from evolve.models.founder import origin_of_block
from evolve.planning.origin import Origin
from evolve.promotion.comparison import comparison
from evolve.promotion.promote import Decision
from population.blocks.block import TensorBlock
from population.errors import ConfigError
from population.stacks.row_format import encode_row
from tests.evolve import whole
from tests.evolve.cli.conftest import Done, Program
from tests.population.strategies import mlp, random_stack

IMPROVE = Path(__file__).parents[4] / "configs" / "improve.yaml"
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 16)
        self.head = nn.Linear(16, 10)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)

    def forward(self, pixels):
        return self.head(torch.relu(self.hidden(pixels.flatten(1) / 16)))
"""
CNN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(128, 10)

    def forward(self, image):
        value = torch.relu(self.norm(self.conv(image / 16)))
        return self.head(torch.max_pool2d(value, 2).flatten(1))
"""
#: Few enough rows, steps and candidates that a campaign takes seconds, most of them to start.
TINY = [
    "data.target=digit", "strategy.population=4", "stop.generations=3", "operators.burst.settings.steps=8",
    "tiers.ladder=2", "tiers.distil.steps=8", "promote.margin=0.5",
]  # fmt: skip
SMALL = [
    "benchmark.dataset=digits", "strategy.population=4", "stop.generations=2", "operators={burst: {settings: {steps: 150}}}",
    "tiers={fractions: {lite: 0.5, ultimate: 1.0}, ladder: 4, finalists: 1, distil: {steps: 100, batch: 64}}",
]  # fmt: skip


def test_a_text_stands_for_the_path_of_a_model_and_other_keys_beside_it() -> None:
    config = load_config(IMPROVE, ["model=net.py:Net", "model.weights=w.pt", "benchmark.dataset=digits"])
    assert config.model is not None
    assert (config.model.path, config.model.weights, config.graph) == ("net.py:Net", "w.pt", {})


def test_only_the_block_of_a_model_is_part_of_the_key() -> None:
    values = {"benchmark": {"dataset": "digits"}, "stop": {"generations": 1}, "operators": {"burst": {}}}
    one, other = (check_config({**values, "model": {"path": path, "block": "b" * 30}}) for path in ("a.py", "b.py"))
    third = check_config({**values, "model": {"path": "a.py", "block": "b" * 31}})
    assert one.key == other.key != third.key


def test_a_config_without_graph_and_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="'graph' is missing"):
        check_config({"benchmark": {"dataset": "digits"}, "stop": {"generations": 1}})


def test_the_founder_of_an_import_has_the_bits_of_the_block_and_no_campaign(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "home")
    block = TensorBlock.from_stack(random_stack(mlp(), 1), 0)
    origin = origin_of_block(home, block)
    assert origin.is_import
    assert origin.row(-1) == encode_row(block.to_stack(), 0)
    again = Origin.from_value(origin.to_value(), lambda digest: None)
    assert (again.founders, again.is_import) == (origin.founders, True)
    assert leaves_of(home, pytest.fail) == {}


def test_scores_of_another_head_are_not_told_of_the_model(tmp_path: Path) -> None:
    """A second model in a home was once shown with the scores of the champion that the first had become."""
    home = Home.create(tmp_path / "home")
    blocks = [TensorBlock.from_stack(random_stack(mlp(), 1, seed=seed), 0) for seed in range(3)]
    for block in blocks:
        home.block_store().put(block)
    model, before, champion = (block.id for block in blocks)
    told = {"heldout": {"ultimate": {"accuracy": 0.9}}, "heldout_of_standing": {"ultimate": {"accuracy": 0.8}}}
    for compared_with, wanted in (
        (model, {"model": {"accuracy": 0.8}, "ultimate": {"accuracy": 0.9}}),
        (before, {"model": {}, "head before": {"accuracy": 0.8}, "ultimate": {"accuracy": 0.9}}),
    ):
        decision = Decision("promoted", [], 2, champion, **told, compared_with=compared_with)
        found = comparison(home, model, decision)
        assert {entry["what"]: entry["heldout"] for entry in found if entry["what"] in wanted} == wanted
        assert {entry["what"] for entry in found} - set(wanted) <= {"lite", "pro"}


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["model=nowhere.py"], "there is no such file"),
        (["model.weights=w.ckpt", "model=nowhere.py"], "must end in .safetensors"),
        (["model.name=Net"], "model.path: name the Python file"),
        (["model.pth=x"], "Did you mean 'path'"),
    ],
)
def test_a_model_that_cannot_be_taken_in_is_refused_in_one_line(
    program: Program, tmp_path: Path, overrides, text
) -> None:
    answer = program("run", IMPROVE, *overrides, "benchmark.dataset=digits", "--home", tmp_path / "home")
    assert answer.code == 2
    assert text in answer.err
    assert len([line for line in answer.err.splitlines() if line.startswith("error")]) == 1


@pytest.mark.slow
def test_a_poor_model_comes_back_better_with_its_pedigree_and_takes_its_own_place(
    program: Program, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NET)
    home = tmp_path / "home"
    asked = ["run", IMPROVE, f"model={tmp_path / 'net.py'}", *SMALL, "--address", "local", "--json", "--home", home]
    told = json.loads(program(*asked).out.splitlines()[-1])
    improved = told["improved"]
    model, ultimate, lite = improved["compared"]
    assert improved["decision"] == "promoted"
    assert model["heldout"]["accuracy"] < 0.4 < 0.8 < ultimate["heldout"]["accuracy"]
    assert lite["share"] < 0.6
    heads = json.loads(program("heads", "--json", "--home", home).out)
    assert (heads[0]["block"], heads[0]["sequence"]) == (told["champion"], 2)
    rebuilt = json.loads(program("rebuild", told["champion"], "--json", "--home", home).out)
    assert rebuilt["same"] is True
    again = json.loads(program(*asked, "--workers", "2", "--again").out.splitlines()[-1])
    assert (again["population"], again["lineage"]) == (told["population"], told["lineage"])
    back = program("rollback", "improved", "--json", "--home", home)
    assert json.loads(back.out)["block"] == improved["model"]


# ---- what is promised of every campaign ---------------------------------------------------------------------------------


def _files(folder: Path) -> list[str]:
    """Writes a convolutional network and 300 digits, as a user has them; returns the overrides that name them."""
    (folder / "net.py").write_text(CNN)
    bunch = load_digits()
    np.savez(folder / "rows.npz", image=bunch.images[:300, None].astype(np.float32), digit=bunch.target[:300])
    return [f"model={folder / 'net.py'}", f"data.path={folder / 'rows.npz'}", *TINY]


def _run(home: Path, *arguments: str) -> dict[str, Any]:
    done = whole.call(whole.command("run", IMPROVE, *arguments, "--home", home, "--json"), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


@pytest.fixture(scope="module")
def improved(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A network that was taken in and improved by nobody interrupted, on one worker. (config: the network's folder.)"""
    folder = tmp_path_factory.mktemp("improved")
    summary = _run(folder / "home", *_files(folder), "--address", "local", "--workers", "1")
    return Done(folder / "home", folder, summary)


@pytest.mark.slow
def test_an_improvement_is_killed_twice_and_resumed_without_its_files_to_the_same_hashes(
    improved: Done, tmp_path: Path
) -> None:
    asked = [*_files(tmp_path), "--address", "local", "--workers", "1"]
    home = tmp_path / "home"
    first = whole.command("run", IMPROVE, *asked, "--home", home, "--json")
    resume = whole.command("resume", "improved", "--home", home, "--json")
    for arguments in (first, resume):
        before = whole.num_commits(home, "improved")
        with whole.Driver(arguments) as driver:
            assert driver.wait_for(lambda before=before: whole.num_commits(home, "improved") > before)  # type: ignore[misc]
            driver.process.send_signal(signal.SIGKILL)
            driver.finish()
        assert Home.open(home).state_of("improved") == "interrupted"
        for name in ("net.py", "rows.npz"):
            (tmp_path / name).unlink(missing_ok=True)
    done = whole.call(resume, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert whole.hashes(summary) == whole.hashes(improved.summary)
    assert whole.facts_of(home, "improved") == whole.facts_of(improved.home, "improved")
    assert summary["improved"] == improved.summary["improved"]


def test_the_champion_of_an_improvement_is_rebuilt_from_its_pedigree_to_the_same_digest(
    program: Program, improved: Done
) -> None:
    for name in (improved.summary["champion"], improved.summary["individual"]):
        rebuilt = json.loads(program("rebuild", name, "--json", "--home", improved.home).out)
        assert rebuilt["same"] is True


def test_the_pedigree_of_an_improvement_ends_with_the_model_in_every_command(
    program: Program, improved: Done, tmp_path: Path
) -> None:
    """`evolve lineage` and `evolve report` once ended with a fault of ours (70) after an improvement."""
    (row,) = Home.open(improved.home).query("SELECT individual FROM individuals WHERE operator = 'adopt'").to_pylist()
    told = program("lineage", row["individual"], "--home", improved.home)
    assert (told.code, "origin: " in told.out, "imported model" in told.out) == (0, True, True)
    rebuilt = json.loads(program("rebuild", row["individual"], "--json", "--home", improved.home).out)
    assert (rebuilt["same"], [leaf["what"] for leaf in rebuilt["leaves"]]) == (True, ["imported model"])
    assert program("report", "improved", "--out", tmp_path / "page.html", "--home", improved.home).code == 0
    assert program("lineage", improved.summary["champion"], "--home", improved.home).code == 0
    below = program("lineage", improved.summary["improved"]["model"], "--descendants", "--home", improved.home)
    assert (below.code, "adopt" in below.out) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["local", ""], ids=["local", "ray"])
def test_an_improvement_is_the_same_on_two_workers(improved: Done, tmp_path: Path, address: str) -> None:
    found = _run(tmp_path / "home", *_files(tmp_path), "--address", address, "--workers", "2")
    assert whole.hashes(found) == whole.hashes(improved.summary)
    assert found["improved"] == improved.summary["improved"]
