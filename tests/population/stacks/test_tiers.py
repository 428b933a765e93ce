from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population.errors import InvalidGraph
from population.graphs.graph import OpGraph
from population.stacks.interpreters import run_stack
from population.stacks.row_format import row_digests
from population.stacks.tiers import (
    TIERS,
    check_tiers,
    order_by_importance,
    slice_stack,
    tier_widths,
    with_tier_parameters,
)
from population.stacks.unit_order import permute_units, unit_orders
from tests.population.strategies import cnn, mlp, mlp_value, node, random_inputs, random_stack, sequence_value, stacks

FRACTIONS = {"lite": 0.25, "pro": 0.5, "ultimate": 1.0}


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 100), min_size=1), st.integers(1, 16))
def test_tiers_are_nested_prefixes_of_the_widths(widths, ladder):
    tiers = tier_widths(widths, FRACTIONS, ladder)
    assert list(tiers) == list(TIERS)
    assert tiers["ultimate"] == widths
    for symbol, width in widths.items():
        assert 1 <= tiers["lite"][symbol] <= tiers["pro"][symbol] <= width
        assert all(tiers[tier][symbol] % ladder == 0 or tiers[tier][symbol] == width for tier in TIERS)


@given(stacks())
def test_ordering_by_importance_keeps_what_is_computed(stack):
    inputs = random_inputs(stack.graph, 16)
    before, after = run_stack(stack, inputs, ["logits"]), run_stack(order_by_importance(stack), inputs, ["logits"])
    torch.testing.assert_close(after["logits"], before["logits"], atol=1e-5, rtol=1e-4)


def test_ordering_puts_the_most_important_first_through_flatten_and_keeps_dead_units_last():
    graph = cnn(first=4, second=3)
    stack = random_stack(graph, 2, widths=[{}, {"c2": 2}])
    scale = torch.tensor([1.0, 5.0, 3.0]).repeat_interleave(16)
    stack = stack.replace(tensors={**stack.tensors, "head.weight": stack.tensors["head.weight"] * scale}).masked()
    orders = unit_orders(stack)
    assert orders["c2"][0].tolist() == [1, 2, 0]
    assert orders["c2"][1].tolist() == [1, 0, 2]
    ordered = order_by_importance(stack)
    assert torch.equal(ordered.tensors["head.weight"][0, :, :16], stack.tensors["head.weight"][0, :, 16:32])
    assert torch.equal(ordered.tensors["conv2.bias"][0, 0], stack.tensors["conv2.bias"][0, 1])
    assert not ordered.tensors["head.weight"][1, :, 32:].any()
    assert [order.tolist() for order in unit_orders(ordered)["c2"]] == [[0, 1, 2], [0, 1, 2]]


def test_symbols_that_an_output_shows_keep_their_order():
    graph = OpGraph.from_value(mlp_value() | {"outputs": {"logits": "head", "early": "act"}})
    stack = random_stack(graph, 2)
    assert unit_orders(stack) == {}
    assert order_by_importance(stack) is stack


def test_units_that_marks_of_places_tell_apart_keep_their_order():
    graph = OpGraph.from_value(sequence_value())
    assert sorted(unit_orders(random_stack(graph, 2))) == ["d", "h"]


def test_tied_units_move_together_in_every_place():
    value = mlp_value(hidden=6)
    value["nodes"][1:] = [
        node("second", "linear", "hidden", out="h"),
        node("sum", "add", "hidden", "second"),
        node("joined", "concatenate", "sum", "hidden"),
        node("head", "linear", "joined", out=3),
    ]
    graph = OpGraph.from_value(value)
    stack, inputs = random_stack(graph, 3), random_inputs(graph, 16)
    ordered = order_by_importance(stack)
    assert not torch.equal(ordered.tensors["head.weight"], stack.tensors["head.weight"])
    torch.testing.assert_close(
        run_stack(ordered, inputs)["logits"], run_stack(stack, inputs)["logits"], atol=1e-5, rtol=1e-5
    )


def test_moments_and_tier_parameters_move_with_their_units():
    value = mlp_value()
    value["nodes"][0]["per_tier"] = ["bias"]
    graph = OpGraph.from_value(value)
    stack = with_tier_parameters(random_stack(graph, 1), ["lite"])
    stack = stack.replace(state={"adam.m/hidden.bias": stack.tensors["hidden.bias"].clone()})
    orders = {"h": torch.tensor([[5, 4, 3, 2, 1, 0]])}
    moved = permute_units(stack, orders)
    flipped = stack.tensors["hidden.bias"].flip(1)
    assert torch.equal(moved.tensors["hidden.bias"], flipped)
    assert torch.equal(moved.tensors["hidden.bias@lite"], flipped)
    assert torch.equal(moved.state["adam.m/hidden.bias"], flipped)


@given(stacks(), st.data())
def test_a_slice_is_the_stack_built_narrow(stack, data):
    widths = {symbol: data.draw(st.integers(1, width)) for symbol, width in stack.graph.symbols.items()}
    small = slice_stack(stack, widths, "lite")
    assert small.graph == stack.graph.with_widths(widths)
    for row in range(stack.num_rows):
        assert small.widths_of(row) == {s: min(w, widths[s]) for s, w in stack.widths_of(row).items()}
        for name, tensor in small.live_tensors(row).items():
            assert tuple(tensor.shape) == stack.graph.parameter_shape(name, small.widths_of(row))
    assert row_digests(slice_stack(small, widths, "lite")) == row_digests(small)


def test_slicing_at_full_width_keeps_the_tensors():
    stack = random_stack(cnn(), 2)
    same = slice_stack(stack, stack.graph.symbols, "ultimate")
    assert same.graph == stack.graph
    assert row_digests(same) == row_digests(stack)


def test_gradients_of_a_tier_reach_its_entries_and_no_others():
    stack = random_stack(cnn(), 2)
    leaf = stack.tensors["head.weight"].clone().requires_grad_()
    sliced = slice_stack(stack.replace(tensors={**stack.tensors, "head.weight": leaf}), {"c1": 4, "c2": 8}, "lite")
    run_stack(sliced, random_inputs(stack.graph, 16))["logits"].square().sum().backward()
    assert leaf.grad[:, :, :128].abs().sum() > 0
    assert not leaf.grad[:, :, 128:].any()


def test_a_concatenation_is_sliced_part_by_part():
    value = mlp_value(inputs=2, hidden=4)
    value["nodes"][2:] = [node("joined", "concatenate", "hidden", "act"), node("head", "linear", "joined", out=1)]
    graph = OpGraph.from_value(value)
    stack = random_stack(graph, 1)
    stack = stack.replace(tensors={**stack.tensors, "head.weight": torch.arange(8.0).reshape(1, 1, 8)})
    assert slice_stack(stack, {"h": 2}, "lite").tensors["head.weight"].flatten().tolist() == [0, 1, 4, 5]


def test_a_tier_uses_its_own_parameters_where_it_has_them():
    stack = with_tier_parameters(random_stack(mlp(), 2), ["lite", "pro", "ultimate"])
    assert sorted(set(stack.tensors) - set(stack.graph.parameters)) == ["head.bias@lite", "head.bias@pro"]
    moved = stack.replace(tensors={**stack.tensors, "head.bias@lite": stack.tensors["head.bias"] + 1})
    inputs = random_inputs(stack.graph, 16)
    lite, plain = (run_stack(slice_stack(s, {"h": 2}, "lite"), inputs)["logits"] for s in (moved, stack))
    torch.testing.assert_close(lite, plain + 1)
    assert torch.equal(slice_stack(moved, {"h": 2}, "pro").tensors["head.bias"], stack.tensors["head.bias"])
    assert sorted(slice_stack(moved, {"h": 2}, "lite").tensors) == sorted(stack.graph.parameters)
    assert with_tier_parameters(moved, ["lite"]).tensors["head.bias@lite"] is moved.tensors["head.bias@lite"]


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ({"lite": {"h": 2}}, "'ultimate' is missing"),
        ({"ultimate": {"h": 5}}, "'ultimate'.*'h' must lie in 6 to 6"),
        ({"lite": {"h": 4}, "pro": {"h": 2}, "ultimate": {"h": 6}}, "'pro'.*4 to 6, got 2"),
        ({"light": {"h": 4}, "ultimate": {"h": 6}}, "no tier 'light'"),
        ({"ultimate": {"k": 6}}, "widths of .'h'."),
        ({"lite": {"h": 0}, "ultimate": {"h": 6}}, "1 to 6, got 0"),
    ],
    ids=["no ultimate", "not whole", "not nested", "unknown", "symbol", "zero"],
)
def test_tiers_that_are_not_nested_slices_are_refused(tiers, message):
    with pytest.raises(InvalidGraph, match=message):
        check_tiers(tiers, mlp())


def test_fractions_outside_the_unit_interval_are_refused():
    with pytest.raises(InvalidGraph, match=r"'lite'.*0, 1"):
        tier_widths({"h": 8}, {"lite": 0.0})
