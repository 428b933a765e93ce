from __future__ import annotations

import math
from dataclasses import replace
from importlib import metadata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from population import operations
from population.errors import InvalidGraph, NotFound
from population.graphs.graph import OpGraph
from population.operations import Call, Inferred, Operation, registry
from population.operations.dimensions import fixed
from population.operations.kernels.products import product
from population.operations.windows import Window
from population.stacks.interpreters import run_stack
from tests.population.strategies import node, random_inputs, random_stack

EXPECTED = (
    "add", "avg_pool1d", "avg_pool2d", "concatenate", "conv1d", "conv2d", "elu", "embedding", "flatten", "gelu",
    "gru", "hardtanh", "impute", "isnan", "layer_norm", "leaky_relu", "linear", "log_softmax", "masked_mean",
    "max_pool1d", "max_pool2d", "multi_head_attention", "multiply", "narrow", "not_equal", "one_hot", "permute",
    "positional_embedding", "positional_encoding", "relu", "reshape", "sequence_mask", "sigmoid", "silu", "softmax",
    "softplus", "standardize", "tanh",
)  # fmt: skip


def one_node(op, *shapes, **attributes):
    """A graph of one node on channels of these shapes."""
    names = [f"x{index}" for index in range(len(shapes))]
    inputs = {name: {"shape": list(shape)} for name, shape in zip(names, shapes, strict=True)}
    return OpGraph.from_value({"inputs": inputs, "nodes": [node("y", op, *names, **attributes)], "outputs": {"y": "y"}})


def single(graph, stack, inputs, row=0):
    """What one row gives by the ordinary layout, ``[N, *shape]``."""
    (only,) = graph.nodes
    call = Call(
        tuple(inputs[name][min(row, inputs[name].shape[0] - 1)].movedim(-1, 0) for name in only.inputs),
        {role: stack.tensors[name][row] for role, name in only.parameters.items()},
        {**_defaults(only), **only.attributes},
        graph.value_shapes["y"] and tuple(sum(f for _, f in dim) for dim in graph.value_shapes["y"]),
    )
    return operations.get(only.op).run_single(call)


def _defaults(only):
    kinds = operations.get(only.op).attributes
    return {name: kind.default for name, kind in kinds.items() if kind.default is not None}


def test_the_shipped_operations_are_registered_and_none_is_a_plugin():
    assert set(EXPECTED) <= set(operations.names())
    assert not any(operations.get(name).is_plugin for name in EXPECTED)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(NotFound, match=r"'conv3d'.*Did you mean 'conv"):
        operations.get("conv3d")


def _twice(call):
    return call.inputs[0] * 2


def test_a_package_adds_an_operation_by_entry_point(monkeypatch):
    class Entry:
        def load(self):
            operations.register(
                Operation("twice", lambda inputs, attributes: Inferred(inputs[0]), lambda *_: 1, _twice, _twice)
            )

    ours = registry._operations
    monkeypatch.setattr(registry, "_operations", replace(ours, members=dict(ours.members)))
    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry()] if group == "evolve.operations" else [])
    graph = one_node("twice", (3,))
    assert operations.get("twice").is_plugin
    found = run_stack(random_stack(graph, 2), {"x0": torch.ones(1, 3, 16)})["y"]
    assert torch.equal(found, torch.full((2, 3, 16), 2.0))


def test_registering_another_operation_under_a_taken_name_is_refused():
    same = operations.get("relu")
    assert operations.register(same) is same
    with pytest.raises(ValueError, match=r"'relu' is registered twice"):
        operations.register(Operation("relu", same.infer, same.flops, _twice, _twice))


WINDOWED = [
    ("conv1d", (3, 9), {"out": 4, "kernel": 3}),
    ("conv1d", (3, 9), {"out": 4, "kernel": 2, "stride": 3, "padding": 2}),
    ("conv1d", (3, 9), {"out": 1, "kernel": 1, "bias": False}),
    ("conv2d", (3, 7, 6), {"out": 4, "kernel": 3, "padding": 1}),
    ("conv2d", (2, 7, 6), {"out": 4, "kernel": [3, 2], "stride": [2, 1], "padding": [0, 1]}),
    ("conv2d", (2, 3, 3), {"out": 2, "kernel": 3, "padding": 3, "stride": 2}),
    ("conv2d", (8, 16, 16), {"out": 8, "kernel": 3, "padding": 1}),  # large enough to go candidate by candidate
    ("max_pool1d", (3, 9), {"kernel": 2}),
    ("max_pool1d", (3, 9), {"kernel": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (3, 7, 6), {"kernel": 2}),
    ("max_pool2d", (3, 7, 6), {"kernel": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (3, 7, 6), {"kernel": [1, 2], "stride": [3, 3]}),
    ("avg_pool1d", (3, 9), {"kernel": 4, "stride": 2, "padding": 2}),
    ("avg_pool2d", (3, 7, 6), {"kernel": 2}),
    ("avg_pool2d", (3, 7, 6), {"kernel": 3, "stride": 1, "padding": 1}),
    ("linear", (5,), {"out": 4}),
    ("linear", (3, 5), {"out": 4, "bias": False}),
    ("linear", (2, 3, 5), {"out": 4}),
    ("relu", (3, 2), {}),
    ("gelu", (3, 2), {}),
    ("tanh", (3,), {}),
    ("sigmoid", (3,), {}),
    ("softmax", (3, 2), {}),
    ("log_softmax", (3, 2), {}),
    ("silu", (3, 2), {}),
    ("softplus", (3, 2), {}),
    ("elu", (3, 2), {}),
    ("elu", (3,), {"alpha": 0.5}),
    ("leaky_relu", (3, 2), {"negative_slope": 0.2}),
    ("hardtanh", (3, 2), {}),
    ("hardtanh", (3, 2), {"min_val": 0, "max_val": 6}),
    ("layer_norm", (3, 4), {}),
    ("layer_norm", (5,), {"affine": False, "eps": 0.1}),
    ("layer_norm", (3, 4), {"over": "units"}),
    ("layer_norm", (3, 2, 2), {"over": "units", "affine": False}),
    ("positional_encoding", (5, 4), {}),
    ("positional_embedding", (5, 4), {}),
    ("masked_mean", (3, 4), {}),
    ("masked_mean", (7,), {}),
    ("multi_head_attention", (6, 5), {"out": 6, "heads": 2, "head_width": 3}),
    ("multi_head_attention", (3, 4), {"out": 5, "heads": 3, "head_width": 1, "causal": True, "bias": False}),
    ("gru", (3, 5), {"out": 4}),
    ("gru", (3, 5), {"out": 4, "returns": "last", "reverse": True, "bias": False}),
    ("add", (3, 2), {"value": 1.5}),
    ("add", (3, 2), {}),
    ("multiply", (3, 2), {"value": -2}),
    ("multiply", (3,), {}),
    ("flatten", (3, 2, 2), {}),
    ("reshape", (4, 3), {"shape": [2, 2, 3]}),
    ("permute", (4, 3, 2), {"order": [2, 0, 1]}),
    ("narrow", (4, 3), {"length": 1, "start": 2}),
    ("narrow", (4, 3), {"axis": 1, "length": 2}),
    ("impute", (3,), {"value": [1.0, 2.0, 3.0]}),
    ("standardize", (3, 2), {"mean": [0, 1, -1.5], "deviation": [1, 0.5, 2]}),
    ("standardize", (3,), {"mean": [0, 1, -1.5], "deviation": [1, 0.5, 2], "limit": 2.5}),
]


@pytest.mark.parametrize(("op", "shape", "attributes"), WINDOWED, ids=lambda value: str(value).replace(" ", ""))
def test_forward_and_gradients_agree_with_torch_functional(op, shape, attributes):
    graph = one_node(op, shape, **attributes)
    stack, inputs = random_stack(graph, 3), random_inputs(graph, 32, rows=3)
    tensors = {name: t.clone().requires_grad_() for name, t in stack.tensors.items()}
    values = inputs["x0"].clone().requires_grad_()
    stack = stack.replace(tensors=tensors)
    found = run_stack(stack, {"x0": values})["y"]
    wanted = torch.stack([single(graph, stack, {"x0": values}, row).movedim(0, -1) for row in range(3)])
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    leaves = [values, *tensors.values()]
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((found * weight).sum(), leaves)
    theirs = torch.autograd.grad((wanted * weight).sum(), leaves)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-4, rtol=1e-4)


def test_a_shared_input_gets_the_sum_of_all_rows_gradients():
    graph = one_node("conv2d", (2, 5, 5), out=3, kernel=3)
    stack, shared = random_stack(graph, 4), random_inputs(graph, 16)["x0"].requires_grad_()
    run_stack(stack, {"x0": shared})["y"].square().sum().backward()
    own = shared.detach().repeat(4, 1, 1, 1, 1).requires_grad_()
    run_stack(stack, {"x0": own})["y"].square().sum().backward()
    torch.testing.assert_close(shared.grad[0], own.grad.sum(dim=0), atol=1e-4, rtol=1e-4)


def test_equal_entries_of_a_window_pass_the_gradient_once():
    graph = one_node("max_pool2d", (1, 2, 2), kernel=2)
    values = torch.ones(1, 1, 2, 2, 16, requires_grad=True)
    run_stack(random_stack(graph, 1), {"x0": values})["y"].sum().backward()
    assert torch.equal(values.grad[0, 0, :, :, 0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_a_nan_in_a_window_is_not_hidden_by_the_maximum():
    values = torch.zeros(1, 1, 2, 2, 16)
    values[..., 0, 1, 3] = math.nan
    found = run_stack(random_stack(one_node("max_pool2d", (1, 2, 2), kernel=2), 1), {"x0": values})["y"]
    assert found.isnan().nonzero().tolist() == [[0, 0, 0, 0, 3]]


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_window_places_are_those_of_torch(size, kernel, stride, padding):
    window = Window((kernel,), (stride,), (padding,))
    if size + 2 * padding < kernel:
        with pytest.raises(InvalidGraph, match=r"larger than the axis"):
            window.infer((fixed(size),))
        return
    seen = functional.conv1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), stride=stride, padding=padding)[0, 0]
    counted = torch.zeros(window.output((size,)))
    for _, (places,), (source,) in window.offsets((size,)):
        assert len(range(*source.indices(size))) == len(range(*places.indices(len(counted))))
        counted[places] += 1
    assert counted.tolist() == seen.tolist()


@pytest.mark.parametrize("sizes", [(10, 64, 128), (32, 9, 4096), (32, 144, 1024), (1, 7, 16), (3, 264, 48)], ids=str)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_bits_of_a_product_depend_on_its_row_alone(sizes, rows):
    places, contracted, columns = sizes
    generator = torch.Generator().manual_seed(3)
    left, right = (
        torch.randn(8, places, contracted, generator=generator),
        torch.randn(8, contracted, columns, generator=generator),
    )
    whole = product(left, right)
    for start in range(8 - rows):
        assert torch.equal(
            product(left[start : start + rows], right[start : start + rows]), whole[start : start + rows]
        )


def test_concatenate_and_two_input_arithmetic_take_values_of_several_channels():
    shapes = ((2, 3), (2, 3))
    inputs = {"x0": torch.full((1, 2, 3, 16), 2.0), "x1": torch.full((1, 2, 3, 16), 5.0)}
    for op, wanted in (("add", 7.0), ("multiply", 10.0)):
        graph = one_node(op, *shapes)
        assert torch.equal(run_stack(random_stack(graph, 2), inputs)["y"], torch.full((2, 2, 3, 16), wanted))
    joined = run_stack(random_stack(one_node("concatenate", *shapes), 2), inputs)["y"]
    assert joined[0, :, 0, 0].tolist() == [2, 2, 5, 5]


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("add", ((2,), (3,)), {}, "one shape"),
        ("add", ((2,), (2,)), {"value": 1}, "'value' goes with a single input"),
        ("concatenate", ((2, 3), (2, 4)), {}, "first axis only"),
        ("reshape", ((2, 3),), {"shape": [7]}, "flattens to 6.*got 7"),
        ("linear", ((),), {"out": 1}, "at least one axis"),
        ("softmax", ((),), {}, "at least one axis"),
        ("permute", ((2, 3),), {"order": [0, 2]}, "every axis once"),
        ("permute", ((2, 3),), {"order": [0]}, r"an order of 2 axes"),
        ("narrow", ((2, 3),), {"axis": 2, "length": 1}, "no axis 2"),
        ("narrow", ((2, 3),), {"axis": 1, "start": 2, "length": 2}, "outside axis 1 of 3"),
        ("hardtanh", ((2,),), {"min_val": 1}, "below max_val"),
        ("avg_pool1d", ((2, 8),), {"kernel": 2, "padding": 2}, "half of the kernel"),
        ("conv2d", ((2, 8),), {"out": 1, "kernel": 2}, "3 axes"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_the_node(op, shapes, attributes, message):
    with pytest.raises(InvalidGraph, match=rf"'y'.*{message}"):
        one_node(op, *shapes, **attributes)
