"""`impute`, `isnan`, `standardize` and `one_hot`: what a table's raw columns pass through."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population.blocks.block import TensorBlock
from population.errors import InvalidGraph
from population.graphs.graph import OpGraph
from population.stacks.interpreters import run_block, run_stack
from tests.population.strategies import node, random_stack

NAN = math.nan
CHAIN = [
    node("filled", "impute", "numbers", value=[5.0, 1.0]),
    node("standard", "standardize", "filled", mean=[5.0, 0.0], deviation=[2.0, 4.0]),
    node("gaps", "isnan", "numbers", positions=[1]),
    node("known", "concatenate", "standard", "gaps"),
]


def table_graph(**more):
    """Two numbers through the chain, two codes as marks, and a linear layer over both."""
    value = {
        "inputs": {"numbers": {"shape": [2]}, "categories": {"shape": [2], "dtype": "int64"}},
        "filters": {"numbers": CHAIN, "categories": [node("marks", "one_hot", "categories", sizes=[2, 3])]},
        "nodes": [node("all", "concatenate", "numbers", "categories"), node("head", "linear", "all", out=3)],
        "outputs": {"logits": "head", "seen": "all"},
    }
    return OpGraph.from_value(value | more)


def test_gaps_are_filled_scaled_and_marked_and_codes_are_marks():
    graph = table_graph()
    numbers = torch.tensor([[7.0, 8.0], [NAN, NAN]])
    codes = torch.tensor([[2, 3], [0, 9]])
    block = TensorBlock.from_stack(random_stack(graph, 1), 0)
    seen = run_block(block, {"numbers": numbers, "categories": codes}, outputs=["seen"])["seen"]
    assert seen.tolist() == [[1.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0], [0.0, 0.25, 1.0] + [0.0] * 5]


def test_a_stack_says_bit_by_bit_what_a_block_says():
    graph, stack = table_graph(), random_stack(table_graph(), 3)
    numbers, codes = torch.tensor([[7.0, NAN, 3.0], [8.0, 1.5, NAN]]), torch.tensor([[2, 0, 1], [3, 1, 9]])
    found = run_stack(stack, {"numbers": numbers[None], "categories": codes[None]}, ["seen"])["seen"]
    for row in range(3):
        given = {"numbers": numbers.T, "categories": codes.T}
        single = run_block(TensorBlock.from_stack(stack, row), given, outputs=["seen"])["seen"]
        assert torch.equal(found[row], single.T)
    assert graph.channels_with_gaps == ("numbers",)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.floats(1, 10, width=32))
def test_a_limit_keeps_order_and_bends_no_number_beyond_it(values, limit):
    graph = OpGraph.from_value(
        {
            "inputs": {"x": {"shape": [1]}},
            "nodes": [node("y", "standardize", "x", mean=[0.0], deviation=[1.0], limit=limit)],
            "outputs": {"y": "y"},
        }
    )
    given = torch.tensor(sorted(values))[None, None]
    found = run_stack(random_stack(graph, 1), {"x": given})["y"][0, 0]
    assert bool((found.abs() <= limit * (1 + 1e-6)).all())
    assert bool((found.diff() >= -1e-5).all())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (node("y", "impute", "x", value=[1.0]), "expected 2 numbers"),
        (node("y", "impute", "x", value=[]), "expected a list of numbers"),
        (node("y", "impute", "x"), "'value' is missing"),
        (node("y", "standardize", "x", mean=[0, 0], deviation=[1, 0]), "numbers above 0"),
        (node("y", "standardize", "x", mean=[0, 0], deviation=[1, 1], limit=0), "limit"),
        (node("y", "isnan", "x", positions=[2]), "below 2"),
        (node("y", "isnan", "x", positions=[-1]), "from 0"),
        (node("y", "one_hot", "x", sizes=[1]), "expected 2 whole numbers"),
        (node("y", "one_hot", "x", sizes=[1, 0]), "above 0"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused(wrong, says):
    with pytest.raises(InvalidGraph, match=says):
        OpGraph.from_value({"inputs": {"x": {"shape": [2]}}, "nodes": [wrong], "outputs": {"y": "y"}})


def test_a_channel_that_anything_else_reads_too_has_no_gaps():
    value = {
        "inputs": {"x": {"shape": [2]}},
        "nodes": [node("a", "impute", "x", value=[0, 0]), node("b", "relu", "x"), node("y", "add", "a", "b")],
        "outputs": {"y": "y"},
    }
    assert OpGraph.from_value(value).channels_with_gaps == ()
