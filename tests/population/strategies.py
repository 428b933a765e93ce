"""Shared hypothesis strategies: random op graphs that use every shipped operation, stacks of them, inputs for them."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from population.graphs.graph import OpGraph
from population.stacks.stack import Stack

ACTIVATIONS = (
    "relu", "gelu", "tanh", "sigmoid", "softmax", "silu", "softplus", "elu", "leaky_relu", "hardtanh", "log_softmax"
)  # fmt: skip
WIDTHS = st.integers(1, 6)


def node(name: str, op: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    """A node as it is written by hand."""
    return {"name": name, "op": op, "inputs": list(inputs), **attributes}


def mlp_value(inputs: int = 5, hidden: int = 6, outputs: int = 3, activation: str = "relu") -> dict[str, Any]:
    """A perceptron with one hidden symbol ``h``, its output bias per tier."""
    return {
        "inputs": {"x": {"shape": [inputs], "dtype": "float32"}},
        "symbols": {"h": hidden},
        "nodes": [
            node("hidden", "linear", "x", out="h"),
            node("act", activation, "hidden"),
            node("head", "linear", "act", out=outputs, per_tier=["bias"]),
        ],
        "outputs": {"logits": "head"},
    }


def cnn_value(first: int = 8, second: int = 16, size: int = 8) -> dict[str, Any]:
    """A convolutional network on one-channel images with symbols ``c1`` and ``c2``."""
    return {
        "inputs": {"image": {"shape": [1, size, size], "dtype": "float32"}},
        "symbols": {"c1": first, "c2": second},
        "nodes": [
            node("conv1", "conv2d", "image", out="c1", kernel=3, padding=1),
            node("act1", "relu", "conv1"),
            node("conv2", "conv2d", "act1", out="c2", kernel=3, padding=1),
            node("act2", "relu", "conv2"),
            node("pool", "max_pool2d", "act2", kernel=2),
            node("flat", "flatten", "pool"),
            node("head", "linear", "flat", out=10, per_tier=["bias"]),
        ],
        "outputs": {"logits": "head"},
    }


def sequence_value(
    places: int = 6, units: int = 8, heads: int | str = 2, state: int = 6, **attention: Any
) -> dict[str, Any]:
    """A sequence classifier on tokens 1 to 4 (0 is padding): attention, then a GRU, and a mean beside it."""
    symbols = {"e": units, "d": 3, "h": state} | ({"n": 3} if heads == "n" else {})
    if heads == "n":
        del symbols["d"]
    return {
        "inputs": {"x": {"shape": [places], "dtype": "int64"}},
        "symbols": symbols,
        "nodes": [
            node("mask", "not_equal", "x"),
            node("embed", "embedding", "x", num_embeddings=5, out="e"),
            node("placed", "positional_encoding", "embed", width=8),
            node("norm", "layer_norm", "placed", over="units"),
            node("mixed", "multi_head_attention", "norm", "mask", out="e", heads=heads,
                 head_width=4 if heads == "n" else "d", **attention),
            node("residual", "add", "placed", "mixed"),
            node("state", "gru", "residual", "mask", out="h", returns="last"),
            node("mean", "masked_mean", "residual", "mask"),
            node("joined", "concatenate", "state", "mean"),
            node("head", "linear", "joined", out=3, per_tier=["bias"]),
        ],
        "outputs": {"logits": "head"},
    }  # fmt: skip


def mlp(**sizes: Any) -> OpGraph:
    """The graph of ``mlp_value``."""
    return OpGraph.from_value(mlp_value(**sizes))


def cnn(**sizes: Any) -> OpGraph:
    """The graph of ``cnn_value``."""
    return OpGraph.from_value(cnn_value(**sizes))


@st.composite
def graph_values(draw: st.DrawFn) -> dict[str, Any]:
    """A graph with two hidden symbols: an image or a sequence or a vector, two branches, a norm, maybe a filter."""
    axes = draw(st.integers(0, 2))
    shape = [draw(st.integers(1, 3)), *(draw(st.integers(3, 5)) for _ in range(axes))]
    nodes = [*draw(_branch("a", axes)), *draw(_branch("b", axes))]
    nodes += [node("joined", "concatenate", "a.flat", "b.flat"), node("middle", "linear", "joined", out="q")]
    nodes += [
        node("norm", "layer_norm", "middle", per_tier=draw(st.sampled_from([[], ["weight"], ["bias", "weight"]])))
    ]
    nodes += [node("act", draw(st.sampled_from(ACTIVATIONS)), "norm"), node("residual", "add", "act", "middle")]
    nodes += [node("scaled", "multiply", "residual", **draw(st.sampled_from([{}, {"value": 0.5}])))]
    nodes += [node("shift", "add", "scaled", **draw(st.sampled_from([{}, {"value": -1}])))]
    nodes += [node("head", "linear", "shift", out=3, bias=draw(st.booleans()))]
    value: dict[str, Any] = {
        "inputs": {"x": {"shape": shape, "dtype": "float32"}},
        "symbols": {"p": draw(WIDTHS), "q": draw(WIDTHS)},
        "nodes": nodes,
        "outputs": {"logits": "head", "early": "middle"},
    }
    if draw(st.booleans()):
        value["filters"] = {"x": [node("centred", "add", "x", value=-0.5), node("gain", "multiply", "centred")]}
    return value


@st.composite
def _branch(draw: st.DrawFn, name: str, axes: int) -> list[dict[str, Any]]:
    if axes == 0:
        first = node(f"{name}.in", "linear", "x", out="p")
    else:
        stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 2))
        kernel = draw(st.integers(1, 3))
        first = node(f"{name}.in", f"conv{axes}d", "x", out="p", kernel=kernel, stride=stride, padding=padding)
    nodes = [first, node(f"{name}.act", draw(st.sampled_from(ACTIVATIONS)), f"{name}.in")]
    last = f"{name}.act"
    if axes and draw(st.booleans()):
        op = draw(st.sampled_from(["max", "avg"]))
        padding = draw(st.integers(0, 1))
        nodes.append(node(f"{name}.pool", f"{op}_pool{axes}d", last, kernel=1 + padding, stride=2, padding=padding))
        last = f"{name}.pool"
    if draw(st.booleans()):
        nodes.append(node(f"{name}.norm", "layer_norm", last, affine=draw(st.booleans())))
        last = f"{name}.norm"
    return [*nodes, node(f"{name}.flat", "flatten", last)]


@st.composite
def sequence_values(draw: st.DrawFn) -> dict[str, Any]:
    """A graph on a sequence of tokens 0 to 4 with symbols ``p`` and ``q``, its nodes chosen from what sequences have."""
    places = draw(st.integers(1, 5))
    symbols = {"p": draw(WIDTHS), "q": draw(WIDTHS)}
    mask = ["mask"] if draw(st.booleans()) else []
    heads, width = draw(st.sampled_from([(1, "q"), (2, "q"), ("q", 3), (2, 2)]))
    nodes = [node("embed", "embedding", "x", num_embeddings=draw(st.sampled_from([5, [5] * places])), out="p")]
    marks = draw(st.sampled_from(["positional_encoding", "positional_embedding"]))
    nodes += [node("placed", marks, "embed", **({"width": 4} if marks == "positional_encoding" else {}))]
    nodes += [node("norm", "layer_norm", "placed", over="units", affine=draw(st.booleans()))]
    nodes += [
        node("mixed", "multi_head_attention", "norm", *mask, out="p", heads=heads, head_width=width,
             causal=draw(st.booleans()), bias=draw(st.booleans()))
    ]  # fmt: skip
    nodes += [node("residual", "add", "placed", "mixed")]
    returns = draw(st.sampled_from(["sequence", "last"]))
    nodes += [
        node("carried", "gru", "residual", *mask, out="q", returns=returns, reverse=draw(st.booleans()),
             bias=draw(st.booleans()))
    ]  # fmt: skip
    nodes += [node("middle", "masked_mean", "carried", *mask)] if returns == "sequence" else []
    middle = "middle" if returns == "sequence" else "carried"
    nodes += [node("mask", "not_equal", "x")] if mask else []
    nodes += [node("head", "linear", middle, out=3, per_tier=["bias"])]
    return {
        "inputs": {"x": {"shape": [places], "dtype": "int64"}},
        "symbols": symbols,
        "nodes": nodes,
        "outputs": {"logits": "head", "early": middle},
    }


def graphs() -> st.SearchStrategy[OpGraph]:
    """Random valid graphs."""
    return st.one_of(graph_values(), sequence_values()).map(OpGraph.from_value)


def random_stack(graph: OpGraph, rows: int, seed: int = 0, widths: Any = None, std: float = 0.5) -> Stack:
    """A stack of normal numbers, dead entries zero."""
    generator = torch.Generator().manual_seed(seed)
    empty = Stack.zeros(graph, rows, widths)
    tensors = {name: torch.randn(t.shape, generator=generator) * std for name, t in empty.tensors.items()}
    return empty.replace(tensors=tensors).masked()


def random_inputs(graph: OpGraph, samples: int, seed: int = 0, rows: int = 1) -> dict[str, torch.Tensor]:
    """Inputs of a stack, ``[rows, *shape, samples]`` a channel: normal numbers, or tokens from 0 to 4."""
    generator = torch.Generator().manual_seed(seed + 1)
    found = {}
    for channel in graph.inputs:
        shape = (rows, *channel.shape, samples)
        is_token = channel.dtype == "int64"
        found[channel.name] = (
            torch.randint(5, shape, generator=generator) if is_token else torch.randn(shape, generator=generator)
        )
    return found


@st.composite
def widths_for(draw: st.DrawFn, graph: OpGraph) -> dict[str, int]:
    """Widths of one row, none wider than the graph."""
    return {symbol: draw(st.integers(1, width)) for symbol, width in graph.symbols.items()}


@st.composite
def stacks(draw: st.DrawFn, max_rows: int = 4) -> Stack:
    """Random stacks of random graphs, rows of different widths."""
    graph = draw(graphs())
    rows = draw(st.integers(1, max_rows))
    widths = [draw(widths_for(graph)) for _ in range(rows)]
    return random_stack(graph, rows, draw(st.integers(0, 2**16)), widths)
