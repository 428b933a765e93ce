"""What a graph takes, by arithmetic: fewer inputs at once where samples are large, none where one alone is too much."""

from __future__ import annotations

import torch

from population.blocks.block import TensorBlock
from population.graphs.graph import OpGraph
from population.pytorch import NUM_INPUTS, check_of, seeded_inputs
from population.stacks.footprint import sample_bytes, sample_work, samples_at_once
from population.stacks.interpreters import run_block


def graph_of(shape: list[int], *nodes: dict[str, object]) -> OpGraph:
    return OpGraph.from_value(
        {"inputs": {"x": {"shape": shape}}, "nodes": list(nodes), "outputs": {"y": nodes[-1]["name"]}, "symbols": {}}
    )


def test_the_bytes_of_a_chain_are_those_of_a_value_and_the_next_not_of_all() -> None:
    chain = [{"name": f"n{place}", "op": "relu", "inputs": [f"n{place - 1}" if place else "x"]} for place in range(50)]
    assert sample_bytes(graph_of([1000], *chain)) == 3 * 4000
    assert sample_work(graph_of([1000], *chain)) > 50_000


def test_scores_of_pairs_count() -> None:
    node = {"name": "a", "op": "multi_head_attention", "inputs": ["x"], "out": 8, "heads": 2, "head_width": 4}
    assert sample_bytes(graph_of([8, 5000], node)) > 8 * 3 * 5000 * 5000


def test_a_check_takes_all_inputs_where_they_are_small_fewer_where_they_are_large_and_none_where_one_is_too_much() -> (
    None
):
    small = check_of(graph_of([8], {"name": "a", "op": "linear", "inputs": ["x"], "out": 4}))
    assert (small.num_inputs, small.at_once) == (NUM_INPUTS, NUM_INPUTS)
    layers = [
        {"name": f"c{n}", "op": "conv2d", "inputs": [f"c{n - 1}" if n else "x"], "out": 64, "kernel": 3, "padding": 1}
        for n in range(2)
    ]
    large = graph_of([3, 224, 224], *layers)
    check = check_of(large)
    assert 1 <= check.at_once <= check.num_inputs < 20
    assert check.at_once * sample_bytes(large) <= 256 << 20
    many = [
        {"name": f"c{n}", "op": "conv2d", "inputs": [f"c{n - 1}" if n else "x"], "out": 1024, "kernel": 7, "padding": 3}
        for n in range(8)
    ]
    assert check_of(graph_of([3, 128, 128], *many)).num_inputs == 0
    wide = {"name": "a", "op": "multi_head_attention", "inputs": ["x"], "out": 8, "heads": 2, "head_width": 4}
    assert check_of(graph_of([8, 100_000], wide)).num_inputs == 0


def test_pieces_of_seeded_inputs_are_the_seeded_inputs() -> None:
    graph = OpGraph.from_value(
        {
            "inputs": {"ids": {"shape": [3], "dtype": "int64"}, "x": {"shape": [5, 7]}},
            "nodes": [
                {"name": "e", "op": "embedding", "inputs": ["ids"], "num_embeddings": 11, "out": 4},
                {"name": "f", "op": "flatten", "inputs": ["x"]},
                {"name": "g", "op": "flatten", "inputs": ["e"]},
                {"name": "both", "op": "concatenate", "inputs": ["f", "g"]},
            ],
            "outputs": {"y": "both"},
            "symbols": {},
        }
    )
    whole = seeded_inputs(graph, 100, seed=3)
    for first, count in ((0, 100), (0, 1), (1, 1), (17, 40), (99, 1)):
        part = seeded_inputs(graph, count, 3, first)
        assert all(torch.equal(part[name], whole[name][first : first + count]) for name in whole)


def test_a_block_gives_the_same_whatever_it_lets_go_of() -> None:
    """A value that two nodes read, and an output that another node reads, stay as long as they are read."""
    nodes = [
        {"name": "a", "op": "relu", "inputs": ["x"]},
        {"name": "b", "op": "add", "inputs": ["a", "x"]},
        {"name": "c", "op": "add", "inputs": ["a", "b"]},
    ]
    graph = OpGraph.from_value(
        {"inputs": {"x": {"shape": [2]}}, "nodes": nodes, "outputs": {"c": "c", "a": "a"}, "symbols": {}}
    )
    x = torch.tensor([[1.0, -2.0]])
    found = run_block(TensorBlock(graph, {}), {"x": x})
    assert torch.equal(found["a"], x.relu())
    assert torch.equal(found["c"], x.relu() + x.relu() + x)
    assert samples_at_once(graph, 10) == 10
