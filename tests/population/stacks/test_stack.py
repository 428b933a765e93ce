from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from population.errors import FormatError, InvalidGraph
from population.graphs.graph import OpGraph
from population.stacks.row_format import decode_rows, encode_row, row_digests
from population.stacks.stack import Stack, vector_graph
from population.stacks.tiers import with_tier_parameters
from tests.population.strategies import cnn, mlp, node, random_stack, stacks


def same(left: Stack, right: Stack) -> bool:
    return (
        left.graph == right.graph
        and torch.equal(left.widths, right.widths)
        and left.tensors.keys() == right.tensors.keys()
        and all(torch.equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items())
        and left.state.keys() == right.state.keys()
        and all(torch.equal(value, right.state[name]) for name, value in left.state.items())
    )


@given(stacks())
def test_rows_survive_their_bytes(stack):
    rows = [encode_row(stack, row) for row in range(stack.num_rows)]
    assert same(decode_rows(stack.graph, rows), stack)
    assert [blake3(row).digest() for row in rows] == row_digests(stack)


@given(stacks(), st.data())
def test_gather_and_concat_move_whole_rows(stack, data):
    index = data.draw(st.lists(st.integers(0, stack.num_rows - 1), max_size=6))
    moved = stack.gather(index)
    assert row_digests(moved) == [row_digests(stack)[i] for i in index]
    assert same(Stack.concat([moved, stack]).gather(range(len(index), len(index) + stack.num_rows)), stack)


def test_a_digest_does_not_depend_on_the_stack_a_row_stands_in():
    wide = random_stack(mlp(), 3, widths=[{}, {"h": 2}, {"h": 4}])
    assert row_digests(wide.gather([1])) == row_digests(wide)[1:2]
    assert len(set(row_digests(wide))) == 3


def test_a_digest_sees_every_live_number_the_widths_and_the_state():
    stack = random_stack(mlp(), 1).replace(state={"rate": torch.tensor([0.5])})
    (before,) = row_digests(stack)
    for name, tensor in stack.tensors.items():
        moved = tensor.clone()
        moved.view(-1)[-1] += 1
        assert row_digests(stack.replace(tensors={**stack.tensors, name: moved})) != [before]
    assert row_digests(stack.replace(state={"rate": torch.tensor([0.25])})) != [before]
    assert row_digests(stack.replace(state={})) != [before]
    zeros = Stack.zeros(mlp(), 2, [{}, {"h": 5}])
    assert row_digests(zeros)[0] != row_digests(zeros)[1]


def test_a_state_that_a_row_lacks_is_absent_whoever_its_neighbours_are():
    with_rate = random_stack(mlp(), 1, 1).replace(state={"rate": torch.tensor([0.5])})
    without = random_stack(mlp(), 1, 2)
    both = Stack.concat([with_rate, without])
    assert row_digests(both) == [*row_digests(with_rate), *row_digests(without)]
    assert both.state_or("rate", 0.1).tolist() == pytest.approx([0.5, 0.1])
    assert without.state_or("rate", 0.1).tolist() == pytest.approx([0.1])
    again = decode_rows(both.graph, [encode_row(both, row) for row in (0, 1)])
    assert row_digests(again) == row_digests(both)


def test_moments_shaped_like_parameters_travel_with_their_row():
    stack = random_stack(mlp(), 2)
    stack = stack.replace(
        state={"adam.m/head.bias": torch.arange(6.0).reshape(2, 3), "adam.t": torch.tensor([3.0, 4.0])}
    )
    again = decode_rows(stack.graph, [encode_row(stack, 1), encode_row(stack, 0)])
    assert torch.equal(again.state["adam.m/head.bias"], torch.tensor([[3.0, 4, 5], [0, 1, 2]]))
    assert again.state["adam.t"].tolist() == [4, 3]


@given(stacks())
def test_masking_clears_dead_entries_only_and_is_idempotent(stack):
    dirty = stack.replace(tensors={name: torch.full_like(tensor, math.nan) for name, tensor in stack.tensors.items()})
    masks = dirty.live_masks()
    cleared = dirty.masked()
    for name, tensor in cleared.tensors.items():
        live = masks[name] if masks else torch.ones_like(tensor, dtype=torch.bool)
        assert live.shape == tensor.shape
        assert torch.equal(tensor.isnan(), live)
        assert not tensor[~live].any()
    assert bool(masks) == any(stack.widths_of(row) != dict(stack.graph.symbols) for row in range(stack.num_rows))
    assert same(stack.masked(), stack)


def test_live_tensors_have_the_shapes_of_the_rows_own_widths():
    stack = random_stack(cnn(), 2, widths=[{}, {"c1": 3, "c2": 5}])
    shapes = {name: tuple(tensor.shape) for name, tensor in stack.live_tensors(1).items()}
    assert shapes["conv2.weight"] == (5, 3, 3, 3)
    assert shapes["head.weight"] == (10, 80)
    assert stack.widths_of(1) == {"c1": 3, "c2": 5}


def test_a_row_with_tier_parameters_survives_its_bytes():
    stack = with_tier_parameters(random_stack(mlp(), 2), ["lite", "pro"])
    assert "head.bias@lite" in stack.tensors
    assert same(decode_rows(stack.graph, [encode_row(stack, row) for row in (0, 1)]), stack)
    with pytest.raises(ValueError, match=r"same tier parameters"):
        Stack.concat([stack, random_stack(mlp(), 1)])


def test_stacks_are_frozen_and_checked():
    stack = random_stack(mlp(), 2)
    with pytest.raises(FrozenInstanceError):
        stack.widths = torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"'head.bias': expected float32 \[2, 3\], got torch.float64"):
        stack.replace(tensors={**stack.tensors, "head.bias": torch.zeros(2, 3, dtype=torch.float64)})
    with pytest.raises(ValueError, match=r"'head.bias' is missing"):
        stack.replace(tensors={n: t for n, t in stack.tensors.items() if n != "head.bias"})
    with pytest.raises(ValueError, match=r"no parameter 'hidden.weight@lite'"):
        stack.replace(tensors={**stack.tensors, "hidden.weight@lite": stack.tensors["hidden.weight"]})
    with pytest.raises(ValueError, match=r"leading axis of 2"):
        stack.replace(state={"rate": torch.zeros(3)})
    with pytest.raises(InvalidGraph, match=r"'h'.*1 to 6"):
        Stack.zeros(mlp(), 1, [{"h": 7}])


def test_an_empty_stack_is_a_stack():
    empty = random_stack(mlp(), 2).gather([])
    assert empty.num_rows == 0
    assert same(decode_rows(empty.graph, []), Stack.zeros(mlp(), 0))
    assert same(Stack.concat([empty, random_stack(mlp(), 2)]), random_stack(mlp(), 2))


def test_a_vector_is_a_row():
    stack = random_stack(vector_graph(5), 3)
    assert stack.tensors["x"].shape == (3, 5)
    assert same(decode_rows(stack.graph, [encode_row(stack, row) for row in range(3)]), stack)


# ---- bytes of strangers ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=60))
def test_junk_is_no_row(junk):
    for data in (junk, b"EVROW1" + junk):
        with pytest.raises(FormatError):
            decode_rows(mlp(), [data])


@given(st.data())
def test_a_damaged_row_is_refused_or_is_another_row(data):
    stack = random_stack(mlp(), 1).replace(state={"rate": torch.tensor([0.5])})
    row = bytearray(encode_row(stack, 0))
    place = data.draw(st.integers(0, len(row) - 1))
    row[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_rows(stack.graph, [bytes(row)])
    except FormatError:
        return
    assert row_digests(found) != row_digests(stack)


@pytest.mark.parametrize(
    "change",
    [lambda row: row[:-1], lambda row: row + b"\0", lambda row: row[:20], lambda row: b""],
    ids=["cut", "longer", "header only", "empty"],
)
def test_a_row_that_is_cut_or_longer_is_refused(change):
    with pytest.raises(FormatError):
        decode_rows(mlp(), [change(encode_row(random_stack(mlp(), 1), 0))])


def test_a_row_of_another_species_is_refused():
    with pytest.raises(FormatError, match=r"another op graph"):
        decode_rows(mlp(hidden=7), [encode_row(random_stack(mlp(), 1), 0)])


def test_a_graph_without_parameters_has_rows_too():
    value = {"inputs": {"x": {"shape": [2]}}, "nodes": [node("y", "relu", "x")], "outputs": {"y": "y"}}
    stack = Stack.zeros(OpGraph.from_value(value), 2)
    assert same(decode_rows(stack.graph, [encode_row(stack, 0), encode_row(stack, 1)]), stack)
