from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from population.blocks.block import TensorBlock
from population.errors import InputError
from population.graphs.graph import OpGraph
from population.stacks.interpreters import plan_of, run_block, run_stack
from population.stacks.stack import Stack
from tests.population.strategies import cnn, mlp, mlp_value, node, random_inputs, random_stack, sequence_value, stacks

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@given(stacks(), st.integers(1, 40))
def test_the_interpreter_of_stacks_agrees_with_the_one_of_blocks(stack, samples):
    """Rows of different widths in one stack give what each gives as a block of its own width."""
    inputs = random_inputs(stack.graph, samples)
    found = run_stack(stack, inputs)
    for row in range(stack.num_rows):
        block = TensorBlock.from_stack(stack, row)
        wanted = run_block(block, {name: value[0].movedim(-1, 0) for name, value in inputs.items()})
        for channel, value in wanted.items():
            own = found[channel][row]
            if channel == "early":  # shows a width symbol: what lies beyond the row's own width is zero
                live = block.graph.symbols["q"]
                assert not own[live:].any()
                own = own[:live]
            torch.testing.assert_close(own, value.movedim(0, -1), **CLOSE)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "gelu"])
def test_a_narrow_row_in_a_wide_stack_computes_what_it_computes_at_its_own_width(activation):
    value = mlp_value(hidden=16, activation=activation)
    value["nodes"].insert(2, node("norm", "layer_norm", "act"))
    value["nodes"][-1]["inputs"] = ["norm"]
    graph = OpGraph.from_value(value)
    stack = random_stack(graph, 3, widths=[{"h": 16}, {"h": 5}, {"h": 1}])
    inputs = random_inputs(graph, 32)
    wide = run_stack(stack, inputs)["logits"]
    for row, width in enumerate((16, 5, 1)):
        narrow = graph.with_widths({"h": width})
        own = Stack(narrow, {n: t[None] for n, t in stack.live_tensors(row).items()}, torch.tensor([[width]]))
        torch.testing.assert_close(run_stack(own, inputs)["logits"][0], wide[row], atol=1e-6, rtol=1e-5)


def outputs_and_gradients(stack: Stack, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    tensors = {name: tensor.clone().requires_grad_() for name, tensor in stack.tensors.items()}
    (found,) = run_stack(stack.replace(tensors=tensors), inputs).values()
    loss = (torch.log_softmax(found, dim=1)[:, 0].mean(dim=1) + found.square().mean(dim=(1, 2))).sum()
    return [found.detach(), *torch.autograd.grad(loss, list(tensors.values()))]


GRAPHS = {
    "mlp": mlp(inputs=64, hidden=32, outputs=10),
    "mlp gelu, odd sizes": mlp(inputs=7, hidden=13, outputs=3, activation="gelu"),
    "mlp sigmoid, one unit": mlp(inputs=1, hidden=1, outputs=1, activation="sigmoid"),
    "mlp softmax, large": mlp(inputs=200, hidden=264, outputs=10, activation="softmax"),
    "cnn": cnn(),
    "cnn, wide": cnn(first=16, second=32),
    "cnn, odd sizes": cnn(first=3, second=5, size=6),
    "sequence": OpGraph.from_value(sequence_value()),
    "sequence, whole heads, causal": OpGraph.from_value(sequence_value(heads="n", causal=True)),
    "sequence, longer": OpGraph.from_value(sequence_value(places=17, units=24, state=16)),
}


@pytest.mark.parametrize("samples", [16, 48, 128])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_a_rows_bits_depend_neither_on_its_slot_nor_on_its_neighbours_nor_on_their_number(name, shared, samples):
    """Forward and backward, on real bits; rows of other widths among the neighbours."""
    graph = GRAPHS[name]
    narrow = {symbol: max(1, width // 2) for symbol, width in graph.symbols.items()}
    stack = random_stack(graph, 6, widths=[{}, {}, narrow, {}, narrow, {}])
    inputs = random_inputs(graph, samples, rows=1 if shared else 6)
    whole = outputs_and_gradients(stack, inputs)
    for rows in ([0], [5], [2], [5, 0], [3, 3, 1], [4, 3, 2, 1, 0], [1] * 9):
        chosen = inputs if shared else {channel: value[rows] for channel, value in inputs.items()}
        part = outputs_and_gradients(stack.gather(rows), chosen)
        for all_rows, some in zip(whole, part, strict=True):
            assert torch.equal(all_rows[rows].view(torch.int32), some.view(torch.int32))


def test_a_neighbour_full_of_nan_changes_no_bit():
    graph = cnn()
    stack = random_stack(graph, 3)
    spoilt = stack.replace(
        tensors={n: torch.cat([t[:1], t[1:2] * float("nan"), t[2:]]) for n, t in stack.tensors.items()}
    )
    inputs = random_inputs(graph, 32)
    clean, other = run_stack(stack, inputs)["logits"], run_stack(spoilt, inputs)["logits"]
    assert torch.equal(clean[[0, 2]], other[[0, 2]])
    assert other[1].isnan().all()


def test_only_what_the_wanted_outputs_need_is_run():
    value = mlp_value() | {"outputs": {"logits": "head", "early": "act"}}
    value["inputs"]["z"] = {"shape": [2]}
    graph = OpGraph.from_value(value)
    assert [step.name for step, _ in plan_of(graph, ("early",))] == ["hidden", "act"]
    inputs = {"x": torch.ones(1, 5, 16)}
    assert list(run_stack(random_stack(graph, 2), inputs, ["early"])) == ["early"]
    assert list(run_stack(random_stack(graph, 2), inputs)) == ["logits", "early"]


def test_values_are_let_go_after_their_last_reader_but_outputs_stay():
    graph = OpGraph.from_value(mlp_value() | {"outputs": {"logits": "head", "early": "act"}})
    assert [sorted(done) for _, done in plan_of(graph, ("logits", "early"))] == [["x"], ["hidden"], []]


@given(st.integers(1, 70))
@settings(max_examples=10)
def test_any_number_of_samples_gives_the_samples_of_a_larger_batch(samples):
    graph = mlp(activation="gelu")
    stack, inputs = random_stack(graph, 2), random_inputs(graph, 80)
    whole = run_stack(stack, inputs)["logits"]
    part = run_stack(stack, {"x": inputs["x"][..., :samples]})["logits"]
    assert part.shape == (2, 3, samples)
    torch.testing.assert_close(part, whole[..., :samples], atol=1e-6, rtol=1e-5)


def test_inputs_are_not_modified():
    graph = cnn()
    stack, inputs = random_stack(graph, 2), random_inputs(graph, 16)
    before = inputs["image"].clone(), {n: t.clone() for n, t in stack.tensors.items()}
    run_stack(stack, inputs)
    assert torch.equal(inputs["image"], before[0])
    assert all(torch.equal(stack.tensors[n], t) for n, t in before[1].items())


def test_integer_channels_are_computed_in_float32():
    value = mlp_value()
    value["inputs"]["x"]["dtype"] = "uint8"
    graph = OpGraph.from_value(value)
    pixels = torch.arange(80, dtype=torch.uint8).reshape(1, 5, 16)
    stack = random_stack(graph, 1)
    assert torch.equal(run_stack(stack, {"x": pixels})["logits"], run_stack(stack, {"x": pixels.float()})["logits"])


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({}, None, "'x' is missing"),
        ({"x": torch.ones(1, 4, 16)}, None, r"'x'.*\[1 or 2, 5, N\], got \[1, 4, 16\]"),
        ({"x": torch.ones(3, 5, 16)}, None, r"1 or 2"),
        ({"x": torch.ones(1, 5, 16)}, ["logit"], "'logit'; did you mean 'logits'"),
    ],
    ids=["missing", "shape", "rows", "output"],
)
def test_what_does_not_fit_is_refused_by_channel(inputs, outputs, message):
    with pytest.raises(InputError, match=message):
        run_stack(random_stack(mlp(), 2), inputs, outputs)


def test_a_block_refuses_an_unknown_tier_and_a_wrong_shape():
    block = TensorBlock.from_stack(random_stack(mlp(), 1), 0)
    with pytest.raises(InputError, match=r"no tier 'lite'"):
        run_block(block, {"x": torch.ones(2, 5)}, "lite")
    with pytest.raises(InputError, match=r"'x'.*\[N, 5\], got \[2, 6\]"):
        run_block(block, {"x": torch.ones(2, 6)})
