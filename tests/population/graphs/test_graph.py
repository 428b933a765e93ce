from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population import lazy_torch
from population.encoding.cbor import decode, encode
from population.errors import InvalidGraph
from population.graphs.graph import Channel, Node, OpGraph
from population.operations.dimensions import flatten, format_dim, live_positions, parse_dim, put, take
from population.stacks.stack import vector_graph
from tests.population.strategies import cnn, cnn_value, graph_values, graphs, mlp, mlp_value, node


@given(graphs())
def test_a_graph_survives_its_plain_value_and_its_bytes(graph):
    again = OpGraph.from_value(decode(encode(graph.to_value())))
    assert again == graph
    assert encode(again.to_value()) == encode(graph.to_value())


@given(graph_values(), st.randoms(use_true_random=False))
def test_the_order_of_writing_does_not_matter(value, generator):
    other = copy.deepcopy(value)
    generator.shuffle(other["nodes"])
    other["symbols"] = dict(reversed(other["symbols"].items()))
    assert OpGraph.from_value(other).digest == OpGraph.from_value(value).digest


def test_defaults_and_implied_names_are_left_out_of_the_canonical_value():
    value = cnn_value()
    explicit = copy.deepcopy(value)
    explicit["nodes"][0] |= {
        "stride": [1, 1], "padding": [1, 1], "kernel": [3, 3], "bias": True, "parameters": {"weight": "conv1.weight"},
    }  # fmt: skip
    assert OpGraph.from_value(explicit).digest == OpGraph.from_value(value).digest
    assert OpGraph.from_value(explicit).to_value()["nodes"][0] == node(
        "conv1", "conv2d", "image", out="c1", kernel=3, padding=1
    )


def test_another_attribute_is_another_species():
    other = cnn_value()
    other["nodes"][0]["padding"] = 0
    other["nodes"][2]["padding"] = 2
    assert OpGraph.from_value(other).digest != cnn().digest


def test_flops_and_bytes_follow_the_formulas():
    graph = cnn(first=8, second=16)
    conv1 = 8 * 64 * (2 * 9 + 1)
    conv2 = 16 * 64 * (2 * 8 * 9 + 1)
    relus, pool = 8 * 64 + 16 * 64, 16 * 16 * 4
    head = 10 * (2 * 16 * 16 + 1)
    assert graph.flops(graph.symbols) == conv1 + conv2 + relus + pool + head
    assert graph.bytes(graph.symbols) == 4 * (8 * 9 + 8 + 16 * 8 * 9 + 16 + 10 * 256 + 10)
    assert graph.flops({"c1": 2, "c2": 4}) < graph.flops(graph.symbols) // 8


def test_shapes_carry_symbols_through_flatten_and_concatenate():
    graph = cnn()
    assert graph.value_shapes["flat"] == ((("c2", 16),),)
    assert graph.parameters["head.weight"].shape == (((None, 10),), (("c2", 16),))
    assert graph.parameter_shape("head.weight", {"c1": 1, "c2": 3}) == (10, 48)
    assert graph.fan_in("conv2.weight", graph.symbols) == 8 * 9
    assert graph.parameters["head.bias"].per_tier


def test_a_narrower_graph_equals_the_one_built_narrow():
    assert cnn().with_widths({"c2": 8}) == cnn(second=8)
    with pytest.raises(InvalidGraph, match=r"c2.*1 to 16"):
        cnn().with_widths({"c2": 17})


def test_a_filter_is_read_in_place_of_its_channel():
    value = mlp_value() | {
        "filters": {"x": [node("scale", "multiply", "x", value=2), node("gain", "multiply", "scale")]}
    }
    graph = OpGraph.from_value(value)
    assert [n.name for n in graph.schedule] == ["scale", "gain", "hidden", "act", "head"]
    assert graph.schedule[2].inputs == ("gain",)
    assert "gain.weight" in graph.parameters
    assert graph.nodes[0].inputs == ("x",)


def test_parameters_are_shared_by_name_and_must_fit():
    value = mlp_value()
    value["nodes"].insert(2, node("again", "linear", "x", out="h", parameters={"weight": "hidden.weight"}))
    value["nodes"].insert(3, node("sum", "add", "act", "again"))
    value["nodes"][-1]["inputs"] = ["sum"]
    graph = OpGraph.from_value(value)
    assert sorted(graph.parameters) == ["again.bias", "head.bias", "head.weight", "hidden.bias", "hidden.weight"]
    value["nodes"][-1]["parameters"] = {"weight": "hidden.weight"}
    with pytest.raises(InvalidGraph, match=r"'head'.*shares parameter 'hidden.weight'.*name of its own"):
        OpGraph.from_value(value)


def test_the_principal_output_stays_first():
    value = mlp_value() | {"outputs": {"z": "head", "early": "act"}}
    graph = OpGraph.from_value(value)
    assert graph.outputs == (("z", "head"), ("early", "act"))
    assert OpGraph.from_value(decode(encode(graph.to_value()))).outputs == graph.outputs


def _broken(change):
    value = copy.deepcopy(cnn_value())
    change(value)
    return value


WRONG = {
    "unknown op": (lambda v: v["nodes"][0].update(op="conv2"), "'conv1'.*'conv2'.*Did you mean 'conv2d'"),
    "unknown attribute": (lambda v: v["nodes"][0].update(strid=2), "'conv1'.*'strid'; did you mean 'stride'"),
    "missing attribute": (lambda v: v["nodes"][0].pop("kernel"), "'conv1'.*'kernel' is missing.*kernel: 3"),
    "wrong attribute": (lambda v: v["nodes"][0].update(kernel="3"), "'conv1'.*kernel.*whole number.*'3'"),
    "unknown input": (lambda v: v["nodes"][1].update(inputs=["conv"]), "'act1'.*'conv'.*did you mean 'conv"),
    "too many inputs": (lambda v: v["nodes"][1].update(inputs=["conv1", "image"]), "'act1'.*expected 1 inputs, got 2"),
    "unknown symbol": (lambda v: v["nodes"][0].update(out="c9"), "'conv1'.*'c9' is not among symbols"),
    "unused symbol": (lambda v: v["symbols"].update(c3=4), "c3.*no node uses it"),
    "unread node": (lambda v: v["nodes"].append(node("lost", "relu", "conv1")), "'lost'.*nothing reads it"),
    "same name": (lambda v: v["nodes"].append(node("conv1", "relu", "image")), "'conv1'.*rename"),
    "cycle": (lambda v: v["nodes"][0].update(inputs=["act1"]), "circle"),
    "rank": (lambda v: v["nodes"][-1].update(op="conv2d", kernel=3), "'head'.*3 axes.*reshape"),
    "kernel too large": (lambda v: v["nodes"][0].update(kernel=11, padding=0), "'conv1'.*kernel 11.*axis of 8"),
    "unknown output": (lambda v: v.update(outputs={"logits": "heat"}), "'heat'; did you mean 'head'"),
    "no output": (lambda v: v.update(outputs={}), "at least one"),
    "unknown key": (lambda v: v.update(output={}), "'output'; did you mean 'outputs'"),
    "dtype": (lambda v: v["inputs"]["image"].update(dtype="complex64"), "'image'.*complex64.*float32"),
    "shape": (lambda v: v["inputs"]["image"].update(shape=[0, 8]), "'image'.*from 1"),
    "filter of nothing": (lambda v: v.update(filters={"imag": [node("f", "relu", "imag")]}), "'imag'|imag"),
    "filter reads elsewhere": (lambda v: v.update(filters={"image": [node("f", "relu", "conv1")]}), "'f'"),
    "role": (lambda v: v["nodes"][0].update(per_tier=["scale"]), "'conv1'.*per_tier.*'scale'"),
    "name": (lambda v: v["nodes"][0].update(name="a@b"), "'a@b' is no name"),
    "two symbols multiplied": (
        lambda v: v["nodes"].insert(6, node("r", "reshape", "pool", shape=["c2", "c1", 16])),
        "'r'.*cannot be flattened",
    ),
    "not a list": (lambda v: v.update(nodes={"a": 1}), "nodes.*list"),
    "node without op": (lambda v: v["nodes"][0].pop("op"), "'op' is missing"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_graph_is_refused_with_the_node_and_the_remedy(name):
    change, message = WRONG[name]
    with pytest.raises(InvalidGraph, match=message):
        OpGraph.from_value(_broken(change))


MONSTERS = {
    "width": cnn_value() | {"symbols": {"c1": 2**20, "c2": 2**20}},
    "symbol": cnn_value() | {"symbols": {"c1": 2**40, "c2": 8}},
    "nodes": mlp_value() | {"nodes": [node(f"n{i}", "relu", "x") for i in range(5000)]},
    "depth": mlp_value()
    | {
        "symbols": {},
        "nodes": [node(f"n{i}", "relu", f"n{i - 1}" if i else "x") for i in range(1100)],
        "outputs": {"y": "n1099"},
    },
    "kernel": _broken(lambda v: v["nodes"][0].update(kernel=2**20, padding=2**20)),
    "value": mlp_value() | {"inputs": {"x": {"shape": [2**15, 2**15]}}},
}


@pytest.mark.parametrize("name", sorted(MONSTERS))
def test_a_monstrous_graph_is_refused_before_anything_is_allocated(name, monkeypatch):
    def allocate(*args, **kwargs):
        raise AssertionError("allocated")

    for function in ("zeros", "empty", "ones", "tensor", "full", "arange"):
        monkeypatch.setattr(torch, function, allocate)
        monkeypatch.setattr(lazy_torch.torch, function, allocate)
    with pytest.raises(InvalidGraph):
        OpGraph.from_value(MONSTERS[name])


def test_a_graph_of_plain_python_records_builds():
    graph = OpGraph.build([Channel("x", (4,))], [Node("y", "linear", ("x",), {}, {"out": 2})], {"out": "y"}, {})
    assert graph.parameter_shape("y.weight", {}) == (2, 4)


def test_the_vector_species_has_one_parameter_and_no_nodes():
    graph = vector_graph(7)
    assert graph.parameter_shape("x", {}) == (7,)
    assert graph.flops({}) == 0
    assert OpGraph.from_value(decode(encode(graph.to_value()))) == graph


# ---- dimensions ------------------------------------------------------------------------------------------------------

PARTS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 5)), min_size=1, max_size=4)


@given(PARTS)
def test_a_dimension_survives_its_text(parts):
    dim = parse_dim("+".join(str(f) if s is None else f"{f}*{s}" for s, f in parts))
    assert parse_dim(format_dim(dim)) == dim


@pytest.mark.parametrize("text", ["", "a*b", "-1", "1.5", "a+", "0", 0, 2**21, True, None, "a" * 5000], ids=repr)
def test_what_is_no_dimension_is_refused(text):
    with pytest.raises(InvalidGraph):
        parse_dim(text)


@given(PARTS, st.integers(1, 4), st.integers(1, 4))
def test_putting_back_what_was_taken_changes_only_dead_entries(parts, wide, narrow):
    dim = parse_dim("+".join(str(f) if s is None else f"{f}*{s}" for s, f in parts))
    widest, widths = {"a": 4, "b": 4}, {"a": min(wide, 4), "b": narrow}
    live = torch.tensor(live_positions(dim, widest, widths))
    full = torch.arange(1.0, len(live) + 1)
    taken = take(full, (dim,), widest, widths)
    assert torch.equal(taken, full[live])
    assert torch.equal(put(taken, (dim,), widest, widths), torch.where(live, full, 0.0))


def test_a_symbol_behind_a_fixed_axis_is_flattened_place_by_place():
    assert flatten((((None, 2),), (("c", 3),))) == (("c", 3), ("c", 3))
    assert (
        live_positions((("c", 3), ("c", 3)), {"c": 2}, {"c": 1}) == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3
    )


@given(
    st.dictionaries(
        st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3))
    )
)
def test_any_mapping_is_a_graph_or_a_typed_error(value):
    with pytest.raises(InvalidGraph):
        OpGraph.from_value(value)


JUNK = [None, -1, 2**70, "zz", [], {}, [[]], {"a": 1}, 1.5, True, float("nan")]


@given(graph_values(), st.data())
def test_a_graph_with_a_part_replaced_by_junk_is_valid_or_refused(value, data):
    target = data.draw(st.sampled_from([value, value["inputs"]["x"], value["symbols"], *value["nodes"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(st.sampled_from(JUNK))
    try:
        graph = OpGraph.from_value(value)
    except InvalidGraph:
        return
    assert OpGraph.from_value(decode(encode(graph.to_value()))) == graph


def test_names_of_messages_are_kept_short():
    with pytest.raises(InvalidGraph) as caught:
        OpGraph.from_value(mlp_value() | {"inputs": {"x": {"shape": ["y" * 100_000]}}})
    assert len(str(caught.value)) < 1000
    assert mlp().digest == mlp().digest
