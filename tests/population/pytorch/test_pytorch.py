from __future__ import annotations

import inspect

import pytest
import safetensors.torch
import torch
from hypothesis import given

from experiments.exchange.zoo import CASES, fitted, from_sklearn
from population.blocks.block import TensorBlock
from population.pytorch import exported, seeded_inputs, source_of, to_torch
from population.stacks.interpreters import run_block
from population.stacks.tiers import WIDEST
from tests.population.strategies import graphs, random_stack

CLOSE = 1e-5


def by_channel(found):
    if isinstance(found, torch.Tensor):
        return {"output": found}
    return found if isinstance(found, dict) else {f"output_{place}": one for place, one in enumerate(found)}


def largest(one, other):
    assert set(one) == set(other)
    assert all(one[name].shape == other[name].shape for name in one)
    return max(float((one[name] - other[name]).detach().abs().max()) for name in one)


QUICK = ("mlp", "deep_mlp", "residual", "encoder", "two_in_two_out", "siamese", "gru_classifier")
PARAMS = [pytest.param(case, marks=() if case.name in QUICK else pytest.mark.slow, id=case.name) for case in CASES]


@pytest.fixture(scope="module", params=PARAMS)
def pair(request):
    """A module of the zoo and its block."""
    module, example = request.param.make(torch.Generator().manual_seed(7))
    return module, TensorBlock.from_torch(module, example)


def answers(module, inputs):
    """What a module gives for channels that are called as its arguments."""
    names = [name for name in inspect.signature(module.forward).parameters if name in inputs]
    with torch.no_grad():
        return by_channel(module(*(inputs[name] for name in names)))


def test_a_block_gives_what_its_module_gives_on_a_thousand_inputs(pair):
    module, block = pair
    inputs = seeded_inputs(block.graph)
    assert largest(run_block(block, inputs), answers(module, inputs)) < CLOSE


def test_a_module_of_a_block_gives_what_the_block_gives_and_names_its_tensors_alike(pair):
    _, block = pair
    module, inputs = block.to_torch(), seeded_inputs(block.graph, 100)
    assert set(module.state_dict()) == set(block.tensors)
    found = by_channel(module(**inputs))
    assert largest(dict(zip(run_block(block, inputs), found.values(), strict=True)), run_block(block, inputs)) < CLOSE


def test_a_module_of_a_block_comes_in_again_as_one_that_computes_the_same(pair):
    _, block = pair
    inputs = seeded_inputs(block.graph, 50)
    channels = [channel for channel, _ in block.graph.outputs]
    again = TensorBlock.from_torch(block.to_torch(), inputs, outputs=channels)
    assert again.graph.inputs == block.graph.inputs
    assert largest(run_block(again, inputs), run_block(block, inputs)) < CLOSE


def test_its_source_is_plain_python_that_computes_the_same(pair):
    _, block = pair
    inputs = seeded_inputs(block.graph, 64)
    program = exported(block.to_torch(), inputs)
    channels = [channel for channel, _ in block.graph.outputs]
    text, data = source_of(program, sorted(inputs), channels, "model", "A block.", safetensors.torch.save)
    assert "population" not in text
    space = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), space)
    module = space["Block"]()
    module.load_state_dict(safetensors.torch.load(data))
    for few in (1, 64):
        found = module(*(inputs[name][:few] for name in sorted(inputs)))
        wanted = {name: value[:few] for name, value in run_block(block, inputs).items()}
        found = found if isinstance(found, dict) else {channels[0]: found}
        assert largest(found, wanted) < CLOSE


@given(graphs())
def test_a_module_of_a_block_takes_no_samples_too(graph):
    """So what its operations keep is made before an export, in no time, however large a sample is."""
    module, inputs = to_torch(TensorBlock.from_stack(random_stack(graph, 1), 0), WIDEST), seeded_inputs(graph, 0)
    with torch.no_grad():
        found = by_channel(module(**inputs))
    assert all(value.shape[0] == 0 for value in found.values())


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor", "LogisticRegression", "Ridge"])
def test_a_model_of_scikit_learn_comes_in_through_torch(kind):
    model, x = fitted(kind)
    rows = torch.from_numpy(x).to(torch.float32)
    block = TensorBlock.from_torch(from_sklearn(model), rows)
    found = run_block(block, {"input": rows})["output"].squeeze(-1)
    wanted = torch.from_numpy(model.predict_proba(x) if hasattr(model, "classes_") else model.predict(x))
    assert float((found - wanted).abs().max()) < CLOSE * max(1.0, float(wanted.abs().max()))
