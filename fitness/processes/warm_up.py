"""Runs every operation once, forwards and backwards, before any wall goes up.

Kernels choose their code at first use by looking at the machine; behind the walls they could not look, and would give other
bits. What libraries import late is imported here too.
"""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from population.errors import InvalidGraph
from population.graphs.graph import OpGraph
from population.operations import get, names
from population.randomness import normals
from population.stacks.interpreters import run_stack
from population.stacks.stack import Stack

#: shapes of inputs to try an operation on, and what to give the attributes that it requires.
SHAPES = ((1,), (12,), (4, 12), (4, 12, 12))
ATTRIBUTES: Mapping[str, Any] = {
    "out": 8,
    "kernel": 3,
    "shape": [12, 4],
    "order": [1, 0],
    "length": 1,
    "size": 12,
    "num_embeddings": 12,
    "heads": 2,
    "head_width": 4,
    "causal": True,
    "positions": [0, 11],
    "mean": [0.0] * 12,
    "deviation": [1.0] * 12,
    "sizes": [3] * 12,
}
#: what an operation alone is given, since others know an attribute of that name as something else.
OWN: Mapping[str, Mapping[str, Any]] = {"impute": {"value": [0.0] * 12}}
SIZES = ((2, 16), (16, 128))  # candidates, samples


def warm() -> list[str]:
    """Runs all operations of ours that are registered; returns the names of those that ran."""
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16"):
        codecs.lookup(encoding)
    _compute()
    return [name for name in names() if not get(name).is_plugin and _warm_operation(name)]


def _warm_operation(name: str) -> bool:
    found = False
    for graph in _graphs(name):
        for num_rows, num_samples in SIZES:
            _run(graph, num_rows, num_samples)
        found = True
    return found


def _graphs(name: str) -> Iterator[OpGraph]:
    """Yields graphs of this one operation, for the shapes and numbers of inputs that it takes."""
    operation = get(name)
    attributes = {key: ATTRIBUTES[key] for key, kind in operation.attributes.items() if key in ATTRIBUTES}
    attributes |= OWN.get(name, {})
    for shape in SHAPES:
        for shapes in _shapes(shape, operation.num_inputs):
            channels = {f"x{index}": {"shape": list(each), "dtype": "float32"} for index, each in enumerate(shapes)}
            node = {"name": "y", "op": name, "inputs": list(channels), **attributes}
            with contextlib.suppress(InvalidGraph):
                yield OpGraph.from_value({"inputs": channels, "nodes": [node], "outputs": {"y": "y"}})


def _shapes(shape: tuple[int, ...], num_inputs: tuple[int, int | None]) -> set[tuple[tuple[int, ...], ...]]:
    """The inputs to try: the fewest and the most, all of one shape, or the others being masks of the last axis."""
    counts = {num_inputs[0], num_inputs[1] or 2}
    return {(shape, *(other,) * (count - 1)) for count in counts for other in (shape, shape[-1:])}


def _run(graph: OpGraph, num_rows: int, num_samples: int) -> None:
    tensors = {
        name: torch.full((num_rows, *graph.parameter_shape(name, graph.symbols)), 0.1).requires_grad_()
        for name in graph.parameters
    }
    stack = Stack.zeros(graph, num_rows).replace(tensors=tensors)
    inputs = {
        channel.name: torch.ones(num_rows, *channel.shape, num_samples).requires_grad_() for channel in graph.inputs
    }
    result = run_stack(stack, inputs)["y"]
    if result.requires_grad:  # a mask has no gradient
        torch.autograd.grad(result.sum(), [*inputs.values(), *tensors.values()], allow_unused=True)
    with torch.no_grad():
        run_stack(stack, {name: value[:1].detach() for name, value in inputs.items()})


def _compute() -> None:
    """Runs what operators and operations are made of, besides the operations."""
    square = torch.full((64, 64), 0.01) + torch.eye(64)
    square.softmax(dim=0).log_softmax(dim=1).exp().sum()
    torch.linalg.svd(square)
    torch.linalg.cholesky(square @ square.T)
    torch.fft.rfft(square).abs().sum()
    normals(0, 0, 1)  # its table is read from a file
    generator = torch.Generator().manual_seed(0)
    torch.randn(512, generator=generator)
    torch.nn.functional.cross_entropy(square, torch.zeros(64, dtype=torch.int64))
    torch.nn.functional.scaled_dot_product_attention(square[None], square[None], square[None])
