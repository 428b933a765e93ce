from __future__ import annotations

from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolve import templates
from evolve.config.campaign import check_config
from evolve.operators.registry import Settings
from evolve.planning.plan import make_plan
from evolve.templates import Interface, Template, registry
from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.registry import load
from population.blocks.block import TensorBlock
from population.errors import ConfigError, InvalidGraph
from population.graphs.graph import Channel, OpGraph
from population.stacks.interpreters import run_block

SHIPPED = ("cnn", "mlp", "policy", "sequence", "tabular")


def built(name, inputs, outputs=None, **settings):
    """The graph of a template on input shapes by channel."""
    section = {"template": name, "inputs": inputs, "outputs": outputs or {"logits": 3}, **settings}
    return OpGraph.from_value(templates.resolve(section, None))


def run_once(graph, seed=0):
    block = templates.block_of(graph, seed)
    inputs = {c.name: torch.ones(5, *c.shape, dtype=torch.int64 if c.dtype == "int64" else None) for c in graph.inputs}
    return run_block(block, inputs)


def test_the_shipped_templates_are_registered_and_each_says_what_it_is():
    assert set(SHIPPED) <= set(templates.names())
    assert all(templates.get(name).summary and templates.get(name).settings() for name in SHIPPED)


@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["logits", "value", "more"]), st.integers(1, 4), min_size=1),
    st.lists(st.integers(1, 9), max_size=3),
)
def test_an_mlp_reads_any_channels_and_gives_any_outputs(shapes, outputs, hidden):
    inputs = {f"x{index}": {"shape": shape} for index, shape in enumerate(shapes)}
    graph = built("mlp", inputs, outputs, hidden=hidden)
    assert [graph.symbols[f"hidden{index}"] for index in range(1, len(hidden) + 1)] == hidden
    found = run_once(graph)
    assert {name: tuple(value.shape) for name, value in found.items()} == {n: (5, size) for n, size in outputs.items()}


@given(st.lists(st.integers(1, 12), min_size=2, max_size=3), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_a_cnn_reads_an_image_of_any_size_and_a_vector_beside_it(shape, channels):
    graph = built("cnn", {"image": {"shape": shape}, "more": [4]}, channels=channels)
    assert run_once(graph)["logits"].shape == (5, 3)


def test_a_cnn_takes_a_signal_for_units_by_places_where_it_is_told():
    assert next(iter(built("cnn", {"x": [6, 20]}, axes=1).nodes)).op == "conv1d"
    assert [n.op for n in built("cnn", {"x": [6, 20]}).nodes][:2] == ["reshape", "conv2d"]


@given(
    st.integers(1, 12),
    st.integers(0, 2),
    st.sampled_from(["gru", "mean"]),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([[7], [3, 7]]),
    st.integers(1, 9),
)
def test_a_sequence_network_reads_tokens_or_units_by_places(state, layers, ends, padding, shape, units):
    dtype = "int64" if len(shape) == 1 else "float32"
    settings = {"state": state, "layers": layers, "ends": ends, "padding": padding, "units": units, "vocabulary": 5}
    graph = built("sequence", {"x": {"shape": shape, "dtype": dtype}}, **settings)
    assert run_once(graph)["logits"].shape == (5, 3)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"template": "mpl"}, r"graph.template: no template is called 'mpl'. Did you mean 'mlp'"),
        ({"template": "mlp", "hiden": 3}, r"graph.hiden: template 'mlp' has no such setting; did you mean 'hidden'"),
        ({"template": "mlp", "hidden": [0]}, r"graph.hidden.0: .*greater than or equal to 1"),
        ({"template": "mlp", "inputs": {"y": None}}, r"graph.inputs.y: its shape is not known"),
        ({"template": "mlp", "inputs": {"x": {"size": 3}}}, r"graph.inputs.x: expected \{shape"),
        ({"template": "mlp", "inputs": {"x": [0]}}, r"graph.inputs.x: .*whole number from 1"),
        ({"template": "mlp", "inputs": []}, r"graph.inputs: expected a mapping"),
        ({"template": "mlp", "outputs": {"logits": 0}}, r"graph.outputs.logits: expected how many"),
        ({"template": "cnn"}, r"cnn reads one image .* the inputs are x \[4\]"),
        ({"template": "cnn", "inputs": {"x": [1, 4, 4]}, "kernel": 2}, r"graph.kernel: expected an odd number"),
        ({"template": "sequence", "inputs": {"x": [4], "z": [4]}}, r"sequence reads one channel"),
        ({"template": "sequence"}, r"graph.inputs.x: expected tokens, .*the data hold float32"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_remedy(section, message):
    data = Benchmark.from_arrays({"x": np.arange(160.0).reshape(40, 4)}, np.arange(40) % 2)
    with pytest.raises(ConfigError, match=message):
        templates.resolve(section, templates.interface_of(data))


def test_without_data_the_shapes_and_the_vocabulary_must_be_written():
    with pytest.raises(ConfigError, match=r"graph.inputs: no benchmark tells them"):
        templates.resolve({"template": "mlp"}, None)
    with pytest.raises(ConfigError, match=r"graph.outputs: no benchmark tells them"):
        templates.resolve({"template": "mlp", "inputs": {"x": [4]}}, None)
    with pytest.raises(ConfigError, match=r"graph.vocabulary: no data tell"):
        built("sequence", {"x": {"shape": [4], "dtype": "int64"}})


def test_a_name_is_taken_once():
    same = templates.get("mlp")
    assert templates.register(same) is same
    with pytest.raises(ValueError, match=r"'mlp' is registered twice"):
        templates.register(Template("mlp", "", Settings, lambda interface, settings: {}))


# ---- data tell what is left out --------------------------------------------------------------------------------------


def test_shapes_outputs_and_vocabulary_come_from_the_benchmark():
    graph = OpGraph.from_value(templates.resolve({"template": "sequence"}, templates.interface_of(load("token_order"))))
    assert graph.inputs == (Channel("tokens", (12,), "int64"),)
    assert graph.parameter_shape("embed.weight", graph.symbols) == (12, 16)
    assert graph.parameter_shape("head.weight", graph.symbols) == (3, 24)


def test_inputs_are_scaled_by_training_rows_alone():
    rng = np.random.default_rng(0)
    rows = rng.normal(7.0, 3.0, size=(400, 5)).astype(np.float32)
    data = Benchmark.from_arrays({"x": rows}, np.arange(400) % 2)
    graphs = [templates.resolve({"template": "mlp"}, Interface(templates.interface_of(data).inputs, {"logits": 2}, b))
              for b in (data, data.training_only())]  # fmt: skip
    assert graphs[0] == graphs[1]
    (centred, scaled) = graphs[0]["filters"]["x"]
    train = rows[data.rows("train")].astype(np.float64)
    assert centred["value"] == pytest.approx(-train.mean(), rel=1e-5)
    assert scaled["value"] == pytest.approx(1 / train.std(), rel=1e-5)
    assert "filters" not in templates.resolve({"template": "mlp", "standardise": False}, templates.interface_of(data))


def test_an_answer_in_numbers_begins_at_the_scale_of_its_training_rows():
    rng = np.random.default_rng(0)
    rows, prices = rng.normal(size=(400, 5)).astype(np.float32), rng.normal(5e5, 2e4, size=400)
    data = Benchmark.from_arrays({"x": rows}, prices)
    graph = OpGraph.from_value(templates.resolve({"template": "mlp"}, templates.interface_of(data)))
    found = run_block(templates.block_of(graph, 0), {"x": torch.from_numpy(rows)})["prediction"]
    assert abs(float(found.mean()) - 5e5) < 8e4
    assert 0.2e4 < float(found.std()) < 10e4


def test_a_channel_of_one_value_is_left_as_it_is():
    rows = np.stack([np.arange(40.0), np.full(40, 2.0)], axis=1)
    data = Benchmark.from_arrays({"x": rows[:, :1], "still": rows[:, 1:]}, np.arange(40) % 2)
    assert sorted(templates.resolve({"template": "mlp"}, templates.interface_of(data))["filters"]) == ["x"]


# ---- in a config -----------------------------------------------------------------------------------------------------


def config_of(graph):
    return check_config({
        "benchmark": {"dataset": "digits"}, "graph": graph, "strategy": {"kind": "ga", "population": 4},
        "operators": {"gaussian": {}}, "stop": {"generations": 1},
    })  # fmt: skip


def test_a_campaign_from_a_template_is_the_campaign_from_its_graph():
    """The plan's config holds the whole graph, so hashes say what decides, and a template may change later."""
    short = make_plan(config_of({"template": "mlp", "hidden": 24}))
    assert short.config.graph["symbols"] == {"hidden1": 24}
    assert "template" not in short.config.graph
    assert make_plan(config_of(short.config.graph)).key == short.key
    assert make_plan(config_of({"template": "mlp", "hidden": 16})).key != short.key


def test_a_wrong_setting_is_refused_before_anything_is_computed():
    with pytest.raises(ConfigError, match=r"graph.hiden"):
        make_plan(config_of({"template": "mlp", "hiden": 24}))
    with pytest.raises((ConfigError, InvalidGraph), match=r"image"):
        make_plan(config_of({"template": "sequence"}))


def test_equal_seeds_give_equal_blocks_and_others_give_others():
    graph = built("mlp", {"x": [4]})
    first, again, other = (templates.block_of(graph, seed) for seed in (3, 3, 4))
    assert isinstance(first, TensorBlock)
    assert first.id == again.id != other.id


class _StubSettings(Settings):
    width: int = 2


def _stub(interface, settings):
    return {
        "inputs": {c.name: {"shape": list(c.shape)} for c in interface.inputs},
        "symbols": {"w": settings.width},
        "nodes": [
            {"name": "a", "op": "linear", "inputs": [interface.inputs[0].name], "out": "w"},
            {"name": "b", "op": "linear", "inputs": ["a"], "out": interface.outputs["logits"]},
        ],
        "outputs": {"logits": "b"},
    }


def test_a_package_adds_a_template_by_entry_point(monkeypatch):
    class Entry:
        def load(self):
            templates.register(Template("stub", "two layers", _StubSettings, _stub))

    ours = registry._templates
    monkeypatch.setattr(registry, "_templates", replace(ours, members=dict(ours.members)))
    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry()] if group == "evolve.templates" else [])
    assert built("stub", {"x": [4]}, width=5).symbols == {"w": 5}
