from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement

from evolve.runtime.bundle import export_block, read_export
from evolve.runtime.mlflow_model import REQUIRED, BlockModel, save_pyfunc
from population.blocks.block import TensorBlock
from population.errors import FormatError, InputError, StorageError, StoreCorrupt
from population.files.local_files import LocalFiles
from population.graphs.graph import Channel, Node, OpGraph
from population.stacks.interpreters import run_block
from population.stacks.stack import Stack
from tests.population.faulty_files import FaultyFiles
from tests.population.simulated_disk import SimulatedOs, simulated


def block_of(graph: OpGraph, tiers: dict[str, dict[str, int]] | None = None) -> TensorBlock:
    """A block with pinned, distinct weights."""
    stack = Stack.zeros(graph, 1)
    tensors = {}
    for number, (name, tensor) in enumerate(sorted(stack.tensors.items())):
        values = np.random.Generator(np.random.Philox(number)).normal(size=tuple(tensor.shape))
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    return TensorBlock.from_stack(replace(stack, tensors=tensors), 0, tiers)


@pytest.fixture(scope="module")
def digits() -> TensorBlock:
    graph = OpGraph.build(
        inputs=(Channel("image", (1, 4, 4), "float32"),),
        nodes=(
            Node("flat", "flatten", ("image",), {}, {}),
            Node("hidden", "linear", ("flat",), {"weight": "w1", "bias": "b1"}, {"out": "h"}),
            Node("act", "relu", ("hidden",), {}, {}),
            Node("scores", "linear", ("act",), {"weight": "w2", "bias": "b2"}, {"out": 3}),
        ),
        outputs=(("logits", "scores"),),
        symbols={"h": 16},
    )
    return block_of(graph, {"lite": {"h": 8}, "ultimate": {"h": 16}})


@pytest.fixture(scope="module")
def pair() -> TensorBlock:
    """Two inputs and two outputs."""
    graph = OpGraph.build(
        inputs=(Channel("left", (2,), "float32"), Channel("right", (3,), "float32")),
        nodes=(
            Node("both", "concatenate", ("left", "right"), {}, {}),
            Node("first", "linear", ("both",), {"weight": "w1", "bias": "b1"}, {"out": 2}),
            Node("second", "relu", ("both",), {}, {}),
        ),
        outputs=(("scores", "first"), ("features", "second")),
        symbols={},
    )
    return block_of(graph)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.Generator(np.random.Philox(7)).normal(size=(5, 1, 4, 4)).astype(np.float32)


def outputs_of(block: TensorBlock, inputs: dict[str, np.ndarray], tier: str = "ultimate") -> dict[str, np.ndarray]:
    found = run_block(block, {name: torch.from_numpy(array) for name, array in inputs.items()}, tier=tier)
    return {name: tensor.numpy() for name, tensor in found.items()}


# ---- exports ---------------------------------------------------------------------------------------------------------


def test_an_export_comes_back_as_the_same_block(digits: TensorBlock, tmp_path: Path) -> None:
    name = export_block(LocalFiles(), digits, tmp_path / "export")
    loaded = read_export(tmp_path / "export")
    assert loaded.id == digits.id == name
    assert export_block(LocalFiles(), digits, tmp_path / "export") == name


def test_every_file_of_an_export_is_checked(digits: TensorBlock, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    export_block(LocalFiles(), digits, folder)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "block"]
    assert len(files) >= 3
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(StoreCorrupt, match=path.name):
            read_export(folder)
        path.unlink()
        with pytest.raises(StoreCorrupt, match="missing"):
            read_export(folder)
        path.write_bytes(whole)
    read_export(folder)


def test_a_damaged_export_is_written_anew(digits: TensorBlock, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    export_block(LocalFiles(), digits, folder)
    (folder / "manifest.cbor").write_bytes(b"\xa0")
    export_block(LocalFiles(), digits, folder)
    assert read_export(folder).id == digits.id


def _nothing(folder: Path, block: TensorBlock) -> None:
    del folder, block


def _another(folder: Path, block: TensorBlock) -> None:
    export_block(LocalFiles(), block, folder)


def _damaged(folder: Path, block: TensorBlock) -> None:
    export_block(LocalFiles(), block, folder)
    for path in (folder / "manifest.cbor", next((folder / "leaves").iterdir())):
        path.write_bytes(path.read_bytes()[:-1])


def _unmarked(folder: Path, block: TensorBlock) -> None:
    export_block(LocalFiles(), block, folder)
    (folder / "block").unlink()


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("prepare", [_nothing, _another, _damaged, _unmarked])
def test_an_export_on_a_disk_that_fails_anywhere_is_no_export_or_a_whole_one(
    digits: TensorBlock, pair: TensorBlock, tmp_path: Path, prepare: Callable[[Path, TensorBlock], None], is_after: bool
) -> None:
    """Its files were once written past the file system, in place and unsynced: after a crash half a leaf could stand."""
    stood = pair if prepare is _another else digits
    number = 0
    while True:
        folder = tmp_path / str(number)
        prepare(folder, stood)
        files: Any = FaultyFiles(LocalFiles(), number, is_after=is_after, only_changes=True)
        try:
            export_block(files, digits, folder)
        except StorageError:
            with suppress(FormatError, StoreCorrupt):
                assert read_export(folder).id in (stood.id, digits.id)
            assert export_block(LocalFiles(), digits, folder) == digits.id
            assert read_export(folder).id == digits.id
            number += 1
            continue
        assert number >= 2
        assert read_export(folder).id == digits.id
        return


def test_an_export_is_synced_before_it_is_marked_as_whole(digits: TensorBlock) -> None:
    disk = SimulatedOs(np.random.Generator(np.random.Philox(0)))
    disk.restore({Path("/home"): None})
    for number in range(40):
        with simulated(disk):
            export_block(LocalFiles(), digits, Path("/home") / str(number))
        found = disk.crash_state()
        assert len([path for path, data in found.items() if data]) == (number + 1) * (len(digits.manifest()[1]) + 2)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not an export"):
        read_export(tmp_path)


# ---- predictions -----------------------------------------------------------------------------------------------------


def test_arrays_flat_rows_data_frames_and_dicts_get_the_same_answer(digits: TensorBlock, images: np.ndarray) -> None:
    model = BlockModel(digits)
    expected = outputs_of(digits, {"image": images})["logits"]
    flat = images.reshape(5, 16)
    frame = pd.DataFrame(flat, columns=[f"pixel_{i}" for i in range(16)])
    for given in (images, flat, frame, {"image": images}, images.tolist(), images.astype(np.float64)):
        found = model.predict(given)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_a_tier_can_be_asked_for(digits: TensorBlock, images: np.ndarray) -> None:
    expected = outputs_of(digits, {"image": images}, "lite")["logits"]
    np.testing.assert_array_equal(BlockModel(digits).predict(images, {"tier": "lite"}), expected)
    with pytest.raises(InputError, match="tier 'pro': this block has lite, ultimate"):
        BlockModel(digits).predict(images, {"tier": "pro"})


def test_many_rows_are_answered_piece_by_piece_alike(
    digits: TensorBlock, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BlockModel(digits).predict(images)
    monkeypatch.setattr("evolve.runtime.mlflow_model.SAMPLES_AT_ONCE", 2)
    np.testing.assert_allclose(BlockModel(digits).predict(images), whole, rtol=1e-5, atol=1e-5)


def test_several_channels_go_in_and_come_out_by_name(pair: TensorBlock) -> None:
    inputs = {"left": np.ones((4, 2), np.float32), "right": np.full((4, 3), 2, np.float32)}
    found = BlockModel(pair).predict(inputs)
    expected = outputs_of(pair, inputs)
    assert set(found) == {"scores", "features"}
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((5, 15)), r"channel 'image': expected shape \[N, 1, 4, 4\] or \[N, 16\].*got \[5, 15\]"),
        (np.zeros((1, 4, 4)), r"channel 'image'.*got \[1, 4, 4\]"),
        (np.zeros((0, 1, 4, 4)), "N > 0"),
        (np.array([["a"] * 16]), "channel 'image': expected numbers"),
        ({"picture": np.zeros((1, 16))}, "expected the input channels image, got picture"),
    ],
)
def test_a_wrong_input_names_the_channel_and_the_shape(digits: TensorBlock, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BlockModel(digits).predict(given)


def test_an_input_that_is_not_finite_is_refused_with_its_row(digits: TensorBlock) -> None:
    rows = np.zeros((3, 1, 4, 4))
    for bad in (np.nan, np.inf, 1e300):
        rows[2, 0, 3, 3] = bad
        with pytest.raises(InputError, match="row 2 holds NaN, infinity or a number beyond float32"):
            BlockModel(digits).predict(rows)


def test_a_block_with_several_inputs_wants_a_dict(pair: TensorBlock) -> None:
    with pytest.raises(InputError, match="give a dict from channel to array, of left, right"):
        BlockModel(pair).predict(np.zeros((4, 2)))
    with pytest.raises(InputError, match="same number of rows"):
        BlockModel(pair).predict({"left": np.zeros((4, 2)), "right": np.zeros((3, 3))})


# ---- MLflow ----------------------------------------------------------------------------------------------------------


def test_mlflow_loads_and_runs_a_saved_model_without_a_warning_and_without_pickle(
    digits: TensorBlock, images: np.ndarray, tmp_path: Path
) -> None:
    from mlflow import pyfunc

    export_block(LocalFiles(), digits, tmp_path / "export")
    assert save_pyfunc(tmp_path / "export", tmp_path / "model") == digits.id
    kept = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert not kept & {".pkl", ".pickle", ".pt", ".pth"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = pyfunc.load_model(str(tmp_path / "model"))
        expected = outputs_of(digits, {"image": images})["logits"]
        for given in (images, images.reshape(5, 16), pd.DataFrame(images.reshape(5, 16)), {"image": images}):
            np.testing.assert_array_equal(model.predict(given), expected)
        lite = model.predict(images, params={"tier": "lite"})
    np.testing.assert_array_equal(lite, outputs_of(digits, {"image": images}, "lite")["logits"])
    assert model.metadata.metadata["block_id"] == digits.id
    assert model.metadata.metadata["inputs"] == {"image": {"dtype": "float32", "shape": [1, 4, 4]}}


LOAD = """
import sys
import numpy as np
from mlflow import pyfunc
model = pyfunc.load_model(sys.argv[1])
print(model.predict(np.zeros((2, 16), np.float32)).shape)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("ray", "duckdb", "typer", "deap", "dag_cbor")))
"""


def test_a_saved_model_loads_in_a_process_of_its_own_with_population_only(digits: TensorBlock, tmp_path: Path) -> None:
    export_block(LocalFiles(), digits, tmp_path / "export")
    save_pyfunc(tmp_path / "export", tmp_path / "model")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "model")]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.splitlines() == ["(2, 3)", "[]"]
    assert done.stderr == ""


USE = """
import json, sys
from importlib.metadata import packages_distributions
from pathlib import Path
import numpy as np
import evolve.serving
from evolve.runtime.bundle import read_export
from evolve.runtime.mlflow_model import BlockModel
model = BlockModel(read_export(Path(sys.argv[1])))
model.predict(np.zeros((2, 16), np.float32))
roots = {name.split(".")[0] for name in sys.modules}
print(json.dumps(sorted({owner for root in roots for owner in packages_distributions().get(root, ())})))
"""


def test_what_a_saved_model_asks_for_is_what_answering_imports(digits: TensorBlock, tmp_path: Path) -> None:
    """A machine that installs the requirements of a registered model and this project's code can answer."""
    export_block(LocalFiles(), digits, tmp_path / "export")
    command = [sys.executable, "-c", USE, str(tmp_path / "export")]
    done = subprocess.run(command, cwd=os.getcwd(), capture_output=True, text=True, timeout=200, check=True)
    ours = {Requirement(line).name for line in metadata.requires("tensor-block-evolution") or ()}
    assert ours & set(json.loads(done.stdout)) == set(REQUIRED) - {"mlflow"}
