from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from population.errors import InputError, InvalidGraph
from population.graphs.graph import OpGraph
from population.operations.dimensions import live_positions
from population.stacks.interpreters import run_stack
from population.stacks.tiers import slice_stack
from tests.population.operations.test_operations import one_node
from tests.population.strategies import node, random_inputs, random_stack, sequence_value

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
LENGTHS = torch.tensor([5, 1, 3, 4] * 4)
MASK = (torch.arange(5)[:, None] < LENGTHS).float()  # [L, N]


def sequence(units=6, rows=2, seed=0):
    return torch.randn(rows, units, 5, 16, generator=torch.Generator().manual_seed(seed))


def run(graph, stack, values, *more):
    given = [values, *(item.expand(values.shape[0], *item.shape) for item in more)]
    return run_stack(stack, {f"x{index}": value for index, value in enumerate(given)})["y"]


# ---- the same numbers as torch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_torch_with_its_parameters(causal, padded):
    graph = one_node("multi_head_attention", (6, 5), *([(5,)] * padded), out=6, heads=2, head_width=3, causal=causal)
    stack, values = random_stack(graph, 2), sequence()
    found = run(graph, stack, values, *([MASK] * padded))
    module = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    forbidden = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    for row in range(2):
        named = {f"y.{name.replace('.', '_')}": name for name in module.state_dict()}
        module.load_state_dict({name: stack.tensors[role][row] for role, name in named.items()})
        given = values[row].permute(2, 1, 0)  # [N, L, E]
        padding = MASK.T == 0 if padded else None
        wanted, _ = module(given, given, given, attn_mask=forbidden, key_padding_mask=padding, need_weights=False)
        torch.testing.assert_close(found[row], wanted.permute(2, 1, 0), **CLOSE)


@pytest.mark.parametrize("returns", ["sequence", "last"])
def test_a_gru_is_that_of_torch_with_its_parameters_and_its_packed_sequences(returns):
    graph = one_node("gru", (6, 5), (5,), out=4, returns=returns)
    stack, values = random_stack(graph, 2), sequence()
    found = run(graph, stack, values, MASK)
    module = torch.nn.GRU(6, 4, batch_first=True)
    for row in range(2):
        module.load_state_dict({f"{name[2:]}_l0": tensor[row] for name, tensor in stack.tensors.items()})
        packed = pack_padded_sequence(values[row].permute(2, 1, 0), LENGTHS, batch_first=True, enforce_sorted=False)
        states, last = module(packed)
        whole, _ = pad_packed_sequence(states, batch_first=True, total_length=5)
        wanted = whole.permute(2, 1, 0) if returns == "sequence" else last[0].T
        torch.testing.assert_close(found[row], wanted, **CLOSE)


def test_a_reversed_gru_is_the_other_direction_of_torchs_bidirectional_one():
    graph = one_node("gru", (6, 5), out=4, reverse=True)
    stack, values = random_stack(graph, 1), sequence(rows=1)
    module = torch.nn.GRU(6, 4, batch_first=True, bidirectional=True)
    own = {f"{name[2:]}_l0_reverse": tensor[0] for name, tensor in stack.tensors.items()}
    module.load_state_dict({**module.state_dict(), **own})
    wanted = module(values[0].permute(2, 1, 0))[0][..., 4:]
    torch.testing.assert_close(run(graph, stack, values)[0], wanted.permute(2, 1, 0), **CLOSE)


def test_normalising_over_units_is_torchs_layer_norm_of_a_transformer():
    graph = one_node("layer_norm", (6, 5), over="units")
    stack, values = random_stack(graph, 1), sequence(rows=1)
    module = torch.nn.LayerNorm(6)
    module.load_state_dict({name[2:]: tensor[0] for name, tensor in stack.tensors.items()})
    wanted = module(values[0].permute(2, 1, 0)).permute(2, 1, 0)
    torch.testing.assert_close(run(graph, stack, values)[0], wanted, **CLOSE)


def test_sinusoids_are_those_of_the_paper():
    graph = one_node("positional_encoding", (6, 5))
    found = run(graph, random_stack(graph, 1), torch.zeros(1, 6, 5, 16))[0, ..., 0]
    for unit in range(6):
        angle = torch.arange(5.0) / 10_000 ** (2 * (unit // 2) / 6)
        torch.testing.assert_close(found[unit], torch.cos(angle) if unit % 2 else torch.sin(angle), **CLOSE)


# ---- tokens ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=20))
def test_an_embedding_gives_the_tables_row_of_each_token(tokens):
    value = {
        "inputs": {"x0": {"shape": [3], "dtype": "int64"}},
        "symbols": {"e": 4},
        "nodes": [node("y", "embedding", "x0", num_embeddings=7, out="e")],
        "outputs": {"y": "y"},
    }
    graph = OpGraph.from_value(value)
    stack, ids = random_stack(graph, 2, widths=[{}, {"e": 2}]), torch.tensor(tokens).T[None]  # [1, L, N]
    found = run_stack(stack, {"x0": ids})["y"]
    for row in range(2):
        wanted = torch.nn.functional.embedding(ids[0], stack.tensors["y.weight"][row])  # [L, N, E]
        assert torch.equal(found[row], wanted.movedim(-1, 0))
    assert not found[1, 2:].any()


def test_columns_with_tables_of_their_own_share_one_parameter():
    graph = one_node("embedding", (3,), num_embeddings=[2, 5, 3], out=4)
    stack = random_stack(graph, 1)
    assert stack.tensors["y.weight"].shape == (1, 10, 4)
    ids = torch.tensor([1, 4, 2]).reshape(1, 3, 1).expand(1, 3, 16)
    found = run_stack(stack, {"x0": ids})["y"][0, ..., 0]
    assert torch.equal(found.T, stack.tensors["y.weight"][0, [1, 6, 9]])


def test_the_largest_token_that_a_table_may_have_survives_float32():
    graph = one_node("embedding", (1,), num_embeddings=2**20, out=1)
    stack = random_stack(graph, 1)
    found = run_stack(stack, {"x0": torch.full((1, 1, 16), 2**20 - 1)})["y"]
    assert torch.equal(found[0, 0, 0, 0], stack.tensors["y.weight"][0, -1, 0])


@pytest.mark.parametrize("token", [5.0, -1.0, 0.5, float("nan"), float("inf"), 1e30])
def test_what_is_no_token_of_the_table_is_refused(token):
    graph = one_node("embedding", (2,), num_embeddings=5, out=3)
    with pytest.raises(InputError, match=r"is no id of its table of 5"):
        run_stack(random_stack(graph, 1), {"x0": torch.tensor([[0.0, token]])[..., None].expand(1, 2, 16)})
    own = one_node("embedding", (2,), num_embeddings=[9, 5], out=3)
    with pytest.raises(InputError, match=r"is no id of its table of \(9, 5\)"):
        run_stack(random_stack(own, 1), {"x0": torch.tensor([[0.0, token]])[..., None].expand(1, 2, 16)})


def test_equal_tokens_add_their_gradients_up():
    graph = one_node("embedding", (3,), num_embeddings=4, out=2)
    stack = random_stack(graph, 2)
    leaf = stack.tensors["y.weight"].clone().requires_grad_()
    ids = torch.tensor([1, 1, 3]).reshape(1, 3, 1).expand(1, 3, 16)
    run_stack(stack.replace(tensors={"y.weight": leaf}), {"x0": ids})["y"].sum().backward()
    assert leaf.grad[:, :, 0].tolist() == [[0, 32, 0, 16]] * 2


# ---- padding ---------------------------------------------------------------------------------------------------------


def test_masks_follow_from_a_padding_id_and_from_lengths():
    graph = one_node("not_equal", (5,), value=2)
    tokens = torch.tensor([0, 2, 1, 2, 2]).reshape(1, 5, 1).expand(1, 5, 16)
    assert run(graph, random_stack(graph, 1), tokens)[0, :, 0].tolist() == [1, 0, 1, 0, 0]
    for shape in ((), (1,)):
        graph = one_node("sequence_mask", shape, size=5)
        assert torch.equal(run(graph, random_stack(graph, 1), LENGTHS.reshape(1, *shape, 16))[0], MASK)


def test_a_masked_mean_averages_what_counts_and_is_zero_where_nothing_does():
    graph, values = one_node("masked_mean", (6, 5), (5,)), sequence()
    mask = MASK.clone()
    mask[:, 3] = 0
    found = run(graph, random_stack(graph, 2), values, mask)
    assert not found[..., 3].any()
    for sample in (0, 1, 2):
        wanted = values[:, :, : LENGTHS[sample], sample].mean(dim=-1)
        torch.testing.assert_close(found[..., sample], wanted, **CLOSE)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("masked_mean", {}),
        ("gru", {"out": 4}),
        ("gru", {"out": 4, "returns": "last"}),
        ("multi_head_attention", {"out": 4, "heads": 2, "head_width": 2}),
    ],
    ids=str,
)
def test_what_stands_in_padded_places_changes_nothing_elsewhere(op, attributes):
    graph = one_node(op, (6, 5), (5,), **attributes)
    stack, values = random_stack(graph, 2), sequence()
    other = torch.where(MASK.bool(), values, sequence(seed=9))
    found, spoilt = run(graph, stack, values, MASK), run(graph, stack, other, MASK)
    live = MASK.bool() if found.dim() == 4 else torch.ones(16, dtype=torch.bool)
    assert torch.equal(torch.where(live, found, 0.0), torch.where(live, spoilt, 0.0))


def test_a_place_that_may_read_none_gets_the_outputs_bias():
    graph = one_node("multi_head_attention", (6, 5), (5,), out=4, heads=2, head_width=2)
    stack = random_stack(graph, 2)
    found = run(graph, stack, sequence(), torch.zeros(5, 16))
    wanted = stack.tensors["y.out_proj_bias"][:, :, None, None].expand(2, 4, 5, 16)
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_no_place_sees_what_comes_after_it_where_attention_is_causal():
    graph = one_node("multi_head_attention", (6, 5), out=4, heads=2, head_width=2, causal=True)
    stack, values = random_stack(graph, 1), sequence(rows=1)
    other = values.clone()
    other[:, :, 3:] += 1
    assert torch.equal(run(graph, stack, values)[:, :, :3], run(graph, stack, other)[:, :, :3])


# ---- widths ----------------------------------------------------------------------------------------------------------


def test_a_narrower_gru_is_the_prefix_of_each_gate():
    graph = OpGraph.from_value(sequence_value(state=4))
    assert graph.parameters["state.weight_hh"].shape == ((("h", 1),) * 3, (("h", 1),))
    stack = random_stack(graph, 1)
    sliced = slice_stack(stack, {"h": 2}, "lite").tensors["state.weight_hh"][0]
    assert torch.equal(sliced, stack.tensors["state.weight_hh"][0][[0, 1, 4, 5, 8, 9]][:, :2])


@pytest.mark.parametrize(
    ("heads", "narrow", "kept"),
    [(2, {"d": 1}, [0, 3, 6, 9, 12, 15]), ("n", {"n": 1}, [0, 1, 2, 3, 12, 13, 14, 15, 24, 25, 26, 27])],
    ids=["units of each head", "whole heads"],
)
def test_narrower_attention_keeps_units_of_each_head_or_whole_heads(heads, narrow, kept):
    graph = OpGraph.from_value(sequence_value(heads=heads))
    dim = graph.parameters["mixed.in_proj_weight"].shape[0]
    live = live_positions(dim, graph.symbols, {**graph.symbols, **narrow})
    assert [place for place, is_live in enumerate(live) if is_live] == kept


@pytest.mark.parametrize("heads", [2, "n"])
def test_a_narrow_row_computes_what_it_computes_at_its_own_width(heads):
    graph = OpGraph.from_value(sequence_value(heads=heads))
    narrow = {symbol: max(1, width // 2) for symbol, width in graph.symbols.items()}
    stack, inputs = random_stack(graph, 2, widths=[{}, narrow]), random_inputs(graph, 32)
    wide = run_stack(stack, inputs)["logits"][1]
    own = run_stack(slice_stack(stack.gather([1]), narrow, "ultimate"), inputs)["logits"][0]
    torch.testing.assert_close(own, wide, **CLOSE)


def test_flops_are_those_of_the_products_and_follow_the_width_of_heads():
    def flops(width, heads=2):
        graph = one_node("multi_head_attention", (6, 5), out=4, heads=heads, head_width=width, bias=False)
        return graph.flops(graph.symbols)

    projections = 2 * 5 * (3 * 6 * 6 + 6 * 4)
    pairs = 2 * 25 * (3 + 3)  # scores and sums
    assert flops(3) == projections + 2 * pairs + 5 * 2 * 25 + 5 * 6
    graph = OpGraph.from_value(sequence_value(heads=2))
    assert graph.flops({**graph.symbols, "d": 1}) < graph.flops(graph.symbols)
    gru = one_node("gru", (6, 5), out=4, bias=False)
    assert gru.flops({}) == 5 * (2 * 3 * 4 * (6 + 4) + 13 * 4)
    assert one_node("embedding", (5,), num_embeddings=9, out=4).flops({}) == 0


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("gru", ((5,),), {"out": 3}, r"expected a sequence \[units, places\], got \[5\]"),
        ("gru", ((5, 4), (5,)), {"out": 3}, r"expected a mask \[4\] as second input, got \[5\]"),
        ("masked_mean", ((5, 4), (1, 4)), {}, r"expected a mask \[4\]"),
        ("masked_mean", ((),), {}, "at least one axis"),
        ("multi_head_attention", ((5,),), {"out": 3, "heads": 1, "head_width": 2}, "expected a sequence"),
        ("multi_head_attention", ((5, 4),), {"out": 3, "heads": 1}, "'head_width' is missing"),
        ("multi_head_attention", ((5, 4),), {"out": 3, "heads": "a", "head_width": "b"}, "both have symbols"),
        ("positional_encoding", ((5,),), {}, "expected a sequence"),
        ("positional_encoding", ((6, 5),), {"base": 0}, "base: expected a number above 0"),
        ("embedding", ((5,),), {"num_embeddings": [3, 4], "out": 2}, r"expected ids \[2\].*got \[5\]"),
        ("embedding", ((5,),), {"num_embeddings": 0, "out": 2}, "num_embeddings: expected a whole number"),
        ("embedding", ((5,),), {"num_embeddings": [], "out": 2}, "1 to 4096"),
        ("sequence_mask", ((2,),), {"size": 4}, "one length a sample"),
        ("layer_norm", ((5, 4),), {"over": "places"}, "expected one of sample, units"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_node(op, shapes, attributes, message):
    with pytest.raises(InvalidGraph, match=rf"'y'.*{message}"):
        one_node(op, *shapes, **attributes)


def test_marks_of_a_symbolic_width_need_the_d_of_the_formula():
    value = sequence_value()
    del next(item for item in value["nodes"] if item["name"] == "placed")["width"]
    with pytest.raises(InvalidGraph, match=r"'placed'.*'width' is missing"):
        OpGraph.from_value(value)
