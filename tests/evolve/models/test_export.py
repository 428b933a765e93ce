from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from evolve.models import export as exporting
from evolve.models import plain_files
from evolve.models.export import export_block
from evolve.models.onnx_files import run_onnx
from experiments.exchange.zoo import CASES
from population.blocks.block import TensorBlock
from population.errors import ExportDiffers, FormatError, InputError
from population.graphs.exit_gates import ExitGate
from population.pytorch import check_inputs as samples
from population.pytorch import seeded_inputs
from population.stacks.interpreters import run_block
from tests.population.strategies import cnn, random_stack


@pytest.fixture(scope="module")
def block() -> TensorBlock:
    """A small convolutional network with tiers and a gate."""
    tiers = {"lite": {"c1": 4, "c2": 8}, "ultimate": {"c1": 8, "c2": 16}}
    gate = ExitGate.from_value({"when": "confidence(logits) > 0.5", "tier": "lite"})
    return TensorBlock.from_stack(random_stack(cnn(), 1, std=0.1), 0, tiers, (gate,))


def test_an_onnx_file_takes_any_number_of_samples_and_gives_what_the_tier_gives(block: TensorBlock) -> None:
    made = export_block(block, "onnx", "small", "lite", "A title.")
    (data,) = made.files.values()
    assert (list(made.files), made.batches, made.outputs) == (["small.onnx"], (1, 7, 1000), {"logits": (10,)})
    assert made.largest_difference < 1e-5
    inputs = seeded_inputs(block.graph, 33, seed=5)
    found = run_onnx(data, {"image": inputs["image"].numpy()})["logits"]
    torch.testing.assert_close(
        torch.from_numpy(found), run_block(block, inputs, "lite")["logits"], atol=1e-5, rtol=1e-5
    )


def test_a_torch_file_runs_without_this_project(block: TensorBlock) -> None:
    made = export_block(block, "torch", "small")
    assert list(made.files) == ["small.py", "small.safetensors"]
    assert made.largest_difference < 1e-5
    text = made.files["small.py"].decode()
    assert not any(name in text for name in ("population", "fitness", "import evolve"))


def test_a_safetensors_file_holds_the_whole_block_and_a_tier_alone_as_one(block: TensorBlock) -> None:
    whole = export_block(block, "safetensors", "small")
    assert plain_files.block_of(whole.files["small.safetensors"]) == block
    lite = plain_files.block_of(export_block(block, "safetensors", "small", "lite").files["small.safetensors"])
    assert lite.graph.symbols == {"c1": 4, "c2": 8}
    assert lite.flops() == block.flops("lite")


@pytest.mark.parametrize("place", [3, 200, -40])
def test_a_damaged_safetensors_file_is_refused(block: TensorBlock, place) -> None:
    data = bytearray(plain_files.block_bytes(block))
    data[place] ^= 0x41
    with pytest.raises(FormatError):
        plain_files.block_of(bytes(data))


def test_a_copy_that_computes_something_else_is_not_given_away(block: TensorBlock, monkeypatch) -> None:
    real = plain_files.block_of

    def wrong(data: bytes) -> TensorBlock:
        good = real(data)
        return TensorBlock(good.graph, {name: 1.01 * tensor for name, tensor in good.tensors.items()})

    monkeypatch.setattr(exporting, "block_of", wrong)
    with pytest.raises(ExportDiffers, match="nothing was written"):
        export_block(block, "safetensors", "small")


def test_an_unknown_format_or_tier_is_refused(block: TensorBlock) -> None:
    with pytest.raises(InputError, match="choose from onnx"):
        export_block(block, "onxx", "small")
    with pytest.raises(InputError, match="no tier 'pro'"):
        export_block(block, "onnx", "small", "pro")


def test_a_copy_is_checked_on_one_input_where_two_would_be_too_much(block: TensorBlock, monkeypatch) -> None:
    monkeypatch.setattr(samples, "WORK", 1)
    assert export_block(block, "onnx", "copy").batches == (1,)


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_a_block_of_which_one_sample_takes_too_much_is_written_and_not_run(
    block: TensorBlock, kind, monkeypatch
) -> None:
    monkeypatch.setattr(samples, "MOST_SAMPLE_BYTES", 0)
    monkeypatch.setattr(exporting, "running", lambda *given: nullcontext(None))
    made = export_block(block, kind, "copy")
    assert (made.batches, made.largest_difference, made.outputs) == ((), 0.0, {"logits": (10,)})
    assert len(made.files[f"copy{exporting.ENDINGS[kind]}"]) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_module_of_the_zoo_comes_out_of_onnx_and_torch(case, kind) -> None:
    module, example = case.make(torch.Generator().manual_seed(7))
    made = export_block(TensorBlock.from_torch(module, example), kind, "copy")
    assert made.largest_difference < 1e-5
