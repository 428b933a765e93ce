"""Run by the jail's runner, inside and outside: digests of what every operation gives, forwards and backwards."""

from __future__ import annotations

import torch
from blake3 import blake3

from fitness.processes.warm_up import _graphs
from population.graphs.graph import OpGraph
from population.operations import get, names
from population.randomness import normals
from population.stacks.interpreters import run_stack
from population.stacks.stack import Stack

SIZES = ((3, 16), (9, 48), (64, 128))


def attack() -> dict[str, str]:
    """Returns a digest an operation."""
    return {name: _digest(name) for name in names() if not get(name).is_plugin}


def _digest(name: str) -> str:
    hasher = blake3()
    for graph in _graphs(name):
        for num_rows, num_samples in SIZES:
            for tensor in _values(graph, num_rows, num_samples):
                hasher.update(tensor.detach().contiguous().numpy().tobytes())
    return hasher.hexdigest()


def _values(graph: OpGraph, num_rows: int, num_samples: int) -> list[torch.Tensor]:
    shapes = {name: (num_rows, *graph.parameter_shape(name, graph.symbols)) for name in graph.parameters}
    tensors = {name: _drawn(1 + stream, shapes[name]) for stream, name in enumerate(sorted(shapes))}
    inputs = {
        channel.name: _drawn(100 + stream, (num_rows, *channel.shape, num_samples))
        for stream, channel in enumerate(graph.inputs)
    }
    if graph.nodes[0].op == "embedding":
        inputs = {name: _ids(value) for name, value in inputs.items()}
    found = run_stack(Stack.zeros(graph, num_rows).replace(tensors=tensors), inputs)["y"]
    leaves = [*tensors.values(), *inputs.values()]
    if not found.requires_grad:  # a mask
        return [found]
    loss = (found * _drawn(999, tuple(found.shape))).sum()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [found, *(gradient for gradient in gradients if gradient is not None)]


def _ids(values: torch.Tensor) -> torch.Tensor:
    """Whole numbers from 0 to 11 instead: what an embedding takes."""
    return values.detach().abs().mul(4).floor().clamp(max=11).requires_grad_()


def _drawn(stream: int, shape: tuple[int, ...]) -> torch.Tensor:
    count = int(torch.Size(shape).numel())
    return torch.from_numpy(normals(11, stream, count).reshape(shape)).requires_grad_()
