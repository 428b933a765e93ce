"""Campaigns on arrays, through the program: images with two targets, and two files that are one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.evolve.cli.campaigns.test_tabular import DEAD
from tests.evolve.cli.conftest import ROOT, Program, run_apart

ARRAYS = ROOT / "configs" / "arrays.yaml"
TINY = (
    "strategy.population=4", "stop.generations=2", "operators.burst.settings.steps=10", "tiers.distil.steps=10",
    "tiers.finalists=1", "run.address=local", "run.workers=1",
)  # fmt: skip


def arrays(num_rows: int = 200) -> dict[str, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(8))
    images = generator.integers(0, 255, size=(num_rows, 1, 6, 6)).astype(np.uint8)
    ink = images.reshape(num_rows, -1).mean(axis=1)
    return {"image": images, "shade": np.where(ink > np.median(ink), "dark", "light"), "ink": ink}


def test_images_with_two_targets_are_learned_from_and_answered(program: Program, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", **arrays())
    targets = "data.targets={shade: {}, ink: {loss: huber, weight: 0.5}}"
    call = (
        "run",
        ARRAYS,
        f"data.path={tmp_path / 'images.npz'}",
        targets,
        "graph.template=cnn",
        *TINY,
        "promote.name=shades",
    )
    answer = run_apart(*call, "--json", "--home", tmp_path / "h", env=DEAD)
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out.splitlines()[-1])
    assert summary["objective"] == "loss"
    assert set(summary["heldout"]["ultimate"]) == {
        "loss", "shade.accuracy", "shade.cross_entropy", "ink.r2", "ink.rmse", "flops", "bytes",
    }  # fmt: skip
    (tmp_path / "images.npz").unlink()
    np.save(tmp_path / "new.npy", arrays(5)["image"].astype(np.float32))
    told = program("infer", "shades", "--input", tmp_path / "new.npy", "--json", "--home", tmp_path / "h")
    outputs = json.loads(told.out)["outputs"]
    assert {name: np.shape(values) for name, values in outputs.items()} == {"shade": (5, 2), "ink": (5, 1)}
    rebuilt = program("rebuild", summary["individual"], "--json", "--home", tmp_path / "h")
    assert json.loads(rebuilt.out)["same"] is True


@pytest.mark.slow
def test_two_files_are_the_same_campaign_wherever_they_lie(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "x.npy", arrays()["image"])
        np.save(folder / "y.npy", arrays()["ink"])
        where = (f"data.path={folder / 'x.npy'}", f"data.target_path={folder / 'y.npy'}")
        answer = run_apart("run", ARRAYS, *where, *TINY, "tiers=null", "--json", "--home", folder / "h", env=DEAD)
        assert answer.code == 0, answer.err
        found.append(json.loads(answer.out.splitlines()[-1]))
    assert found[0]["scores"]["ultimate"].keys() == {"r2", "rmse", "flops", "bytes"}
    assert [found[0][key] for key in ("population", "lineage", "champion")] == [
        found[1][key] for key in ("population", "lineage", "champion")
    ]


WRONG = {
    "no target": ((), "data.target: name the array.*image, shade, ink"),
    "another target": (("data.target=shades",), "no array 'shades'.*image, ink, shade"),
    "both": (("data.target=ink", "data.targets={ink: {}}"), "leave one of them out"),
    "an unknown key": (("data.targets={ink: {losses: huber}}",), "unknown key 'data.targets.ink.losses'"),
    "a loss of another kind": (("data.targets={ink: {loss: cross_entropy}}",), "squared, absolute, huber"),
    "no such file": (("data.target=ink", "data.path=nowhere.npz"), "nowhere.npz: there is no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told_in_one_line(program: Program, tmp_path: Path, case: str) -> None:
    np.savez(tmp_path / "images.npz", **arrays())
    overrides, message = WRONG[case]
    answer = program("run", ARRAYS, f"data.path={tmp_path / 'images.npz'}", *overrides, "--home", tmp_path / "h")
    assert answer.code == 2
    assert len(answer.err.strip().splitlines()) == 1
    assert re.search(message, answer.err), answer.err
    assert not (tmp_path / "h" / "campaigns" / "arrays").exists()
