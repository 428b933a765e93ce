from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population.blocks.block import NotFinite, TensorBlock
from population.blocks.manifest import CHUNK_BYTES, join_increments, split_increments, tier_levels
from population.encoding.cbor import Link, decode, encode
from population.encoding.cid import cid_of
from population.errors import FormatError, InputError, InvalidGraph
from population.graphs.exit_gates import ExitGate
from population.graphs.graph import OpGraph
from population.stacks.dtypes import DTYPES
from population.stacks.interpreters import run_block, run_stack
from population.stacks.row_format import row_digests
from population.stacks.stack import Stack
from population.stacks.tiers import TIERS, slice_stack, tier_widths, with_tier_parameters
from tests.population.strategies import cnn, cnn_value, mlp, node, random_inputs, random_stack, stacks

FRACTIONS = {"lite": 0.25, "pro": 0.5, "ultimate": 1.0}
GATE = ExitGate.from_value({"tier": "lite", "when": "confidence(logits) > $sure", "defaults": {"sure": 0.9}})
GOLDEN = Path(__file__).parents[1] / "goldens" / "block.json"


def tiered(graph=None, row=0, ladder=1, **kwargs) -> TensorBlock:
    stack = with_tier_parameters(random_stack(graph or cnn(), row + 1, **kwargs), list(TIERS))
    return TensorBlock.from_stack(stack, row, tier_widths(stack.widths_of(row), FRACTIONS, ladder), (GATE,))


def again(block: TensorBlock) -> TensorBlock:
    value, leaves = block.manifest()
    return TensorBlock.from_manifest(decode(encode(value)), leaves.__getitem__)


def same_tensors(left: TensorBlock, right: TensorBlock) -> bool:
    return left.tensors.keys() == right.tensors.keys() and all(
        tensor.dtype == right.tensors[name].dtype and torch.equal(tensor, right.tensors[name])
        for name, tensor in left.tensors.items()
    )


@given(stacks(), st.data())
def test_a_block_survives_its_manifest(stack, data):
    row = data.draw(st.integers(0, stack.num_rows - 1))
    tiers = data.draw(st.sampled_from([None, tier_widths(stack.widths_of(row), FRACTIONS, 1)]))
    stack = with_tier_parameters(stack, list(TIERS)) if tiers else stack
    block = TensorBlock.from_stack(stack, row, tiers)
    found = again(block)
    assert found == block
    assert same_tensors(found, block)
    assert found.tiers == block.tiers
    assert (found.graph, found.gates) == (block.graph, block.gates)
    assert row_digests(found.to_stack()) == row_digests(block.to_stack())


def test_a_block_of_a_row_is_the_same_whatever_stack_the_row_stands_in():
    wide = random_stack(cnn(), 3, widths=[{}, {"c1": 4, "c2": 8}, {}])
    alone = wide.gather([1])
    assert TensorBlock.from_stack(wide, 1).id == TensorBlock.from_stack(alone, 0).id
    narrow = TensorBlock.from_stack(wide, 1).to_stack()
    assert TensorBlock.from_stack(narrow, 0).id == TensorBlock.from_stack(wide, 1).id
    assert narrow.graph == cnn(first=4, second=8)


def test_every_tier_of_a_block_computes_what_the_slice_of_the_stack_does():
    stack = with_tier_parameters(random_stack(cnn(), 2, std=0.2), list(TIERS))
    stack = stack.replace(tensors={**stack.tensors, "head.bias@lite": stack.tensors["head.bias"] + 3})
    tiers = tier_widths(stack.graph.symbols, FRACTIONS, 2)
    block = again(TensorBlock.from_stack(stack, 1, tiers))
    inputs = random_inputs(stack.graph, 16)
    for tier in TIERS:
        found = run_block(block, {"image": inputs["image"][0].movedim(-1, 0)}, tier)["logits"]
        wanted = run_stack(slice_stack(stack, tiers[tier], tier), inputs)["logits"][1]
        torch.testing.assert_close(found, wanted.T, atol=1e-5, rtol=1e-4)
        assert block.flops(tier) == stack.graph.flops(tiers[tier])


def test_a_tensor_sliced_by_tiers_is_one_leaf_per_increment_and_lite_reads_only_its_own():
    block = tiered(ladder=2)
    value, leaves = block.manifest()
    parts = value["tensors"]["conv2.weight"]["leaves"]
    sizes = [4 * 9 * c1 * c2 for c1, c2 in ((2, 4), (4, 8), (8, 16))]
    assert [part["bytes"] for part in parts] == [sizes[0], sizes[1] - sizes[0], sizes[2] - sizes[1]]
    lite = torch.frombuffer(bytearray(leaves[parts[0]["link"].cid]), dtype=torch.float32).reshape(4, 2, 3, 3)
    assert torch.equal(lite, block.tensors["conv2.weight"][:4, :2])
    assert len(value["tensors"]["head.bias"]["leaves"]) == 1
    assert value["tensors"]["head.bias@lite"]["shape"] == [10]


@given(stacks(max_rows=1), st.data())
def test_increments_reconstruct_a_tensor_exactly(stack, data):
    tiers = tier_widths(stack.graph.symbols, {"lite": 0.3, "pro": 0.7, "ultimate": 1.0}, 1)
    name = data.draw(st.sampled_from(sorted(stack.graph.parameters)))
    tensor, levels = stack.tensors[name][0], tier_levels(stack.graph, tiers, name)
    parts = split_increments(tensor, levels)
    assert sum(part.numel() for part in parts) == tensor.numel()
    assert torch.equal(join_increments(parts, levels, tensor.dtype), tensor)


def test_an_id_sees_tensors_graph_tiers_and_gates_and_nothing_else():
    block = tiered()
    moved = {**block.tensors, "conv1.bias": block.tensors["conv1.bias"] + 1}
    others = [
        TensorBlock(block.graph, moved, block.tiers, block.gates),
        TensorBlock(block.graph, block.tensors, block.tiers, ()),
        tiered(ladder=4),
        tiered(graph=cnn(size=6)),
    ]
    ids = {block.id, *(other.id for other in others)}
    assert len(ids) == 5
    value, _ = block.manifest()
    assert set(value) == {"format", "gates", "graph", "tensors", "tiers", "version"}
    assert tiered().id == block.id


def test_equal_tensors_are_one_leaf():
    value, leaves = TensorBlock.from_stack(Stack.zeros(mlp(inputs=1, hidden=3, outputs=1), 1), 0).manifest()
    assert len(value["tensors"]) == 4
    assert sorted(len(leaf) for leaf in leaves.values()) == [4, 12]


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_of_the_format_survives(dtype):
    block = TensorBlock.from_stack(random_stack(mlp(), 1, std=20.0), 0)
    cast = TensorBlock(block.graph, {name: tensor.to(DTYPES[dtype]) for name, tensor in block.tensors.items()})
    assert same_tensors(again(cast), cast)
    assert cast.to_stack().tensors["head.bias"].dtype == torch.float32


def test_other_dtypes_are_refused_aloud():
    block = TensorBlock.from_stack(random_stack(mlp(), 1), 0)
    tensors = {**block.tensors, "head.bias": block.tensors["head.bias"].to(torch.complex64)}
    with pytest.raises(InputError, match=r"'head.bias' has dtype torch.complex64.*float32"):
        TensorBlock(block.graph, tensors)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_parameter_that_is_not_finite_is_refused(bad):
    stack = random_stack(mlp(), 2)
    tensor = stack.tensors["head.weight"].clone()
    tensor[1, 0, 0] = bad
    spoilt = stack.replace(tensors={**stack.tensors, "head.weight": tensor})
    assert TensorBlock.from_stack(spoilt, 0).id == TensorBlock.from_stack(stack, 0).id
    with pytest.raises(NotFinite, match=r"'head.weight'"):
        TensorBlock.from_stack(spoilt, 1)


def test_a_leaf_above_one_mebibyte_is_described_by_chunks():
    graph = OpGraph.from_value(
        {
            "inputs": {"x": {"shape": [600]}},
            "nodes": [node("y", "linear", "x", out=500, bias=False)],
            "outputs": {"y": "y"},
        }
    )
    block = TensorBlock.from_stack(random_stack(graph, 1), 0)
    value, leaves = block.manifest()
    (leaf,) = value["tensors"]["y.weight"]["leaves"]
    assert leaf["bytes"] == 1_200_000
    assert len(leaf["chunks"]) == 2
    assert again(block) == block
    wrong = copy.deepcopy(value)
    wrong["tensors"]["y.weight"]["leaves"][0]["chunks"][1] = bytes(32)
    with pytest.raises(FormatError, match=r"does not hold the bytes"):
        TensorBlock.from_manifest(wrong, leaves.__getitem__)
    assert CHUNK_BYTES == 2**20


def test_tiers_and_gates_must_fit_the_row():
    stack = random_stack(cnn(), 1)
    with pytest.raises(InvalidGraph, match=r"'c2'"):
        TensorBlock.from_stack(stack, 0, {"ultimate": {"c1": 8, "c2": 8}})
    with pytest.raises(InvalidGraph, match=r"no tier 'lite'"):
        TensorBlock.from_stack(stack, 0, None, (GATE,))


# ---- bytes of strangers ----------------------------------------------------------------------------------------------


def never(cid: str) -> bytes:
    raise AssertionError(f"read {cid}")


def _leaf(value, name="conv1.weight"):
    return value["tensors"][name]["leaves"][0]


HOSTILE = {
    "not a mapping": lambda v: [],
    "other format": lambda v: v | {"format": "tensor"},
    "later version": lambda v: v | {"version": 3},
    "version with a decoder": lambda v: v | {"version": 2},
    "extra key": lambda v: v | {"parents": []},
    "missing key": lambda v: {k: x for k, x in v.items() if k != "tiers"},
    "monstrous widths": lambda v: v["graph"]["symbols"].update(c1=2**20, c2=2**20),
    "graph not canonical": lambda v: v["graph"]["nodes"].reverse(),
    "graph with a default": lambda v: v["graph"]["nodes"][0].update(bias=True),
    "graph is junk": lambda v: v | {"graph": 7},
    "tensor missing": lambda v: v["tensors"].pop("conv1.weight"),
    "tensor too many": lambda v: v["tensors"].update(other=v["tensors"]["conv1.weight"]),
    "shape of another": lambda v: v["tensors"]["conv1.weight"].update(shape=[8, 1, 3, 4]),
    "shape of floats": lambda v: v["tensors"]["conv1.weight"].update(shape=[8.0, 1, 3, 3]),
    "dtype": lambda v: v["tensors"]["conv1.weight"].update(dtype="complex64"),
    "dtype no text": lambda v: v["tensors"]["conv1.weight"].update(dtype=[]),
    "no leaves": lambda v: v["tensors"]["conv1.weight"].update(leaves=[]),
    "leaf size": lambda v: _leaf(v).update(bytes=2**62),
    "leaf size true": lambda v: _leaf(v).update(bytes=True),
    "leaf no link": lambda v: _leaf(v).update(link="abc"),
    "leaf is a manifest": lambda v: _leaf(v).update(link=Link(cid_of(b"", "dag-cbor"))),
    "leaf with chunks": lambda v: _leaf(v).update(chunks=[]),
    "tiers junk": lambda v: v | {"tiers": {"lite": 1}},
    "tiers not nested": lambda v: v["tiers"]["lite"].update(c1=9),
    "gates junk": lambda v: v | {"gates": [1]},
    "gate not canonical": lambda v: v["gates"][0].update(when="confidence(logits)>$sure"),
    "gate of nothing": lambda v: v["gates"][0].update(when="confidence(logit) > $sure"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_manifest_is_refused_before_a_leaf_is_kept(name):
    value, leaves = tiered().manifest()
    value = decode(encode(value))
    changed = HOSTILE[name](value)
    value = changed if name in ("not a mapping",) or (isinstance(changed, dict) and "format" in changed) else value
    if isinstance(changed, dict) and "format" not in changed and name == "missing key":
        value = changed
    read = leaves.__getitem__ if name == "gate of nothing" else never
    with pytest.raises(FormatError):
        TensorBlock.from_manifest(value, read)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-4], lambda data: data + bytes(4), lambda data: b"\xff" * len(data), lambda data: b""],
    ids=["cut", "longer", "other", "empty"],
)  # fmt: skip
def test_a_leaf_with_other_bytes_is_refused(change):
    value, leaves = tiered().manifest()
    with pytest.raises(FormatError, match=r"leaf"):
        TensorBlock.from_manifest(value, lambda cid: change(leaves[cid]))


def test_a_stored_parameter_that_is_not_finite_is_refused():
    value, leaves = TensorBlock.from_stack(random_stack(mlp(), 1), 0).manifest()
    data = b"\x00\x00\xc0\x7f" * 3
    leaves[cid_of(data, "raw")] = data
    value["tensors"]["head.bias"]["leaves"][0]["link"] = Link(cid_of(data, "raw"))
    with pytest.raises(FormatError, match=r"NaN or infinity"):
        TensorBlock.from_manifest(value, leaves.__getitem__)


@given(st.data())
def test_a_manifest_with_a_flipped_byte_is_refused_or_is_another_block(data):
    value, leaves = tiered(graph=OpGraph.from_value(cnn_value(first=2, second=4, size=4))).manifest()
    bytes_ = bytearray(encode(value))
    bytes_[data.draw(st.integers(0, len(bytes_) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = TensorBlock.from_manifest(decode(bytes(bytes_)), lambda cid: leaves.get(cid, b""))
    except FormatError:
        return
    assert encode(found.manifest()[0]) == bytes(bytes_)


# ---- golden ----------------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_block_are_pinned(regen_goldens):
    """The block of small exact numbers has had this manifest since version 1; another one is a format change."""
    stack = with_tier_parameters(random_stack(cnn(first=2, second=4, size=4), 1), list(TIERS))
    exact = {name: (torch.arange(t.numel()).reshape(t.shape) % 17 - 8) / 8.0 for name, t in stack.tensors.items()}
    stack = stack.replace(tensors=exact)
    block = TensorBlock.from_stack(stack, 0, tier_widths(stack.graph.symbols, FRACTIONS, 1), (GATE,))
    value, leaves = block.manifest()
    found = {
        "id": block.id,
        "manifest": encode(value).hex(),
        "leaves": sorted(leaves),
        "row": row_digests(stack)[0].hex(),
    }
    if regen_goldens:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())
