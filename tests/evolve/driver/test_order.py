"""What needs order is not learned from a bag of tokens, and is learned by the network that ships."""

from __future__ import annotations

from pathlib import Path

import torch

from evolve import operators
from evolve.config.campaign import load_config
from evolve.operators.registry import Making
from fitness.benchmarks.registry import load
from population.graphs.graph import OpGraph
from population.stacks.interpreters import run_stack

SHIPPED = Path(__file__).parents[3] / "configs" / "sequences.yaml"
CHANCE = 1 / 3
BAG = {
    "inputs": {"tokens": {"shape": [12], "dtype": "int64"}},
    "symbols": {"units": 32},
    "nodes": [
        {"name": "mask", "op": "not_equal", "inputs": ["tokens"]},
        {"name": "embed", "op": "embedding", "inputs": ["tokens"], "num_embeddings": 12, "out": "units"},
        {"name": "mean", "op": "masked_mean", "inputs": ["embed", "mask"]},
        {"name": "wide", "op": "linear", "inputs": ["mean"], "out": "units"},
        {"name": "act", "op": "relu", "inputs": ["wide"]},
        {"name": "head", "op": "linear", "inputs": ["act"], "out": 3},
    ],
    "outputs": {"logits": "head"},
}


def trained_answers(graph, steps):
    """The benchmark, and what a plainly trained network of this graph answers to each of its rows, ``[R]``."""
    benchmark = load("token_order")
    init, burst = operators.get("init@1"), operators.get("burst@1")
    first = init.apply(Making(graph, (), [5]), init.settings())
    settings = burst.settings.model_validate({"steps": steps, "batch": 64, "learning_rate": 0.01})
    trained = burst.apply(Making(graph, (first,), [5], benchmark), settings)
    with torch.no_grad():
        logits = run_stack(trained, {"tokens": torch.from_numpy(benchmark.inputs["tokens"].copy()).T[None]})["logits"]
    return benchmark, logits[0].argmax(dim=0).numpy()


def test_a_bag_of_tokens_stays_at_chance():
    benchmark, answers = trained_answers(OpGraph.from_value(BAG), 300)
    groups = answers.reshape(-1, 3)
    assert (groups == groups[:, :1]).all(axis=1).mean() > 0.99  # equal bags, equal answers, but for rounding
    assert abs((answers == benchmark.targets[0].values).mean() - CHANCE) < 0.005


def test_the_shipped_network_learns_it():
    benchmark, answers = trained_answers(OpGraph.from_value(load_config(SHIPPED).graph), 150)
    rows = benchmark.rows("validation")
    assert (answers == benchmark.targets[0].values)[rows].mean() > 0.95
