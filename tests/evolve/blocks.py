"""A small block with tiers, an intermediate output and exit gates, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from population.blocks.block import TensorBlock
from population.graphs.exit_gates import ExitGate
from population.graphs.graph import OpGraph
from population.stacks.stack import Stack

GRAPH = OpGraph.from_value(
    {
        "inputs": {"x": {"shape": [4], "dtype": "float32"}},
        "symbols": {"h": 8},
        "nodes": [
            {"name": "early", "op": "linear", "inputs": ["x"], "out": 3},
            {"name": "fc", "op": "linear", "inputs": ["x"], "out": "h"},
            {"name": "act", "op": "relu", "inputs": ["fc"]},
            {"name": "head", "op": "linear", "inputs": ["act"], "out": 3},
        ],
        "outputs": {"logits": "head", "glance": "early"},
    }
)
TIERS = {"lite": {"h": 2}, "pro": {"h": 4}, "ultimate": {"h": 8}}


def classifier(gates: Sequence[dict[str, Any]] = ()) -> TensorBlock:
    """Returns the block, with weights that differ everywhere."""
    stack = Stack.zeros(GRAPH, 1)
    tensors = {}
    for place, (name, tensor) in enumerate(sorted(stack.tensors.items())):
        values = torch.sin(torch.arange(tensor.numel(), dtype=torch.float32) * (1.7 + place) + place)
        tensors[name] = values.reshape(tensor.shape)
    filled = stack.replace(tensors=tensors)
    return TensorBlock.from_stack(filled, 0, tiers=TIERS, gates=tuple(ExitGate.from_value(gate) for gate in gates))
