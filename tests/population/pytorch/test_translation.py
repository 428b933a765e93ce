from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from population.blocks.block import TensorBlock
from population.errors import InputError
from population.pytorch import UnsupportedModule
from population.pytorch.to_torch import parameter_paths
from population.pytorch.translation.arrangement import plan, positions, sizes_after
from population.stacks.interpreters import run_block


class Function(nn.Module):
    """A module of a function and a few layers."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def block_of(function, *shape, **layers) -> TensorBlock:
    return TensorBlock.from_torch(Function(function, **layers), torch.randn(3, *shape))


@st.composite
def arrangements(draw):
    """Sizes, and positions that splitting, turning and cutting axes brings about."""
    sizes = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    index = positions(*sizes)
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["permute", "flatten", "unsqueeze", "narrow"]))
        if kind == "permute":
            index = index.permute(draw(st.permutations(range(index.dim()))))
        elif kind == "flatten" and index.dim() > 1:
            start = draw(st.integers(0, index.dim() - 2))
            index = index.flatten(start, start + 1)
        elif kind == "unsqueeze":
            index = index.unsqueeze(draw(st.integers(0, index.dim())))
        elif kind == "narrow":
            axis = draw(st.integers(0, index.dim() - 1))
            length = draw(st.integers(1, index.shape[axis]))
            index = index.narrow(axis, draw(st.integers(0, index.shape[axis] - length)), length)
    return sizes, index


@given(arrangements())
def test_the_steps_of_a_plan_bring_entries_where_they_were_wanted(case):
    sizes, wanted = case
    steps = plan(sizes, wanted)
    if steps is None:
        return
    now, found = sizes, positions(*sizes)
    for op, attributes in steps:
        if op == "narrow":
            found = found.narrow(attributes["axis"], attributes["start"], attributes["length"])
        elif op == "permute":
            found = found.permute(attributes["order"])
        else:
            found = found.reshape(attributes.get("shape", -1))
        now = sizes_after(now, (op, attributes))
        assert tuple(found.shape) == now
    assert torch.equal(found, wanted)


@given(st.permutations(range(3)), st.permutations(range(3)))
def test_turning_axes_twice_is_planned_as_one_turn(first, second):
    index = positions(2, 3, 4).permute(first).permute(second)
    steps = plan((2, 3, 4), index)
    assert steps is not None
    assert len(steps) <= 1


def test_hidden_widths_become_symbols_and_sums_tie_them():
    def forward(self, x):
        y = self.a(x)
        y = y + self.b(functional.relu(y))
        return self.head(torch.cat([y, self.c(x)], 1))

    block = block_of(forward, 4, a=nn.Linear(4, 8), b=nn.Linear(8, 8), c=nn.Linear(4, 5), head=nn.Linear(13, 2))
    assert block.graph.symbols == {"a": 8, "c": 5}
    assert block.graph.parameter_shape("head.weight", {"a": 3, "c": 2}) == (2, 5)
    assert block.graph.with_widths({"a": 3}).symbols == {"a": 3, "c": 5}


def test_widths_that_outputs_or_inputs_show_stay_numbers():
    block = block_of(lambda self, x: x + self.up(self.down(x)), 6, down=nn.Linear(6, 3), up=nn.Linear(3, 6))
    assert block.graph.symbols == {"down": 3}


def test_channels_of_an_image_keep_their_symbol_through_a_flatten():
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
    block = TensorBlock.from_torch(layers, torch.randn(2, 1, 8, 8))
    assert block.graph.parameter_shape("3.weight", {"w0": 2}) == (2, 18)


def test_one_tensor_under_two_names_is_one_tensor():
    first = nn.Linear(4, 4)
    second = nn.Linear(4, 4)
    second.weight = first.weight
    block = block_of(lambda self, x: self.b(torch.tanh(self.a(x))), 4, a=first, b=second)
    assert sorted(block.tensors) == ["a.bias", "a.weight", "b.bias"]


def test_a_norm_that_others_read_around_is_not_folded():
    norm = nn.BatchNorm2d(3)
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y

    block = block_of(forward, 2, 5, 5, conv=nn.Conv2d(2, 3, 3), norm=norm)
    assert [node.op for node in block.graph.nodes] == ["conv2d", "multiply", "add", "add"]


def test_what_has_no_counterpart_is_told_all_at_once_with_what_comes_nearest():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 4, 3, groups=2)
            self.lstm = nn.LSTM(6, 5, batch_first=True)

        def forward(self, x):
            return self.lstm(self.conv(x))[0], torch.exp(x), x.sum(0)

    with pytest.raises(UnsupportedModule) as caught:
        TensorBlock.from_torch(Odd(), torch.randn(3, 4, 8))
    told = {what: (where, why) for where, what, why in caught.value.missing}
    assert set(told) == {"conv1d", "lstm", "exp", "sum"}
    assert told["conv1d"] == ("conv (conv1d)", "2 groups, where 1 is what there is")
    assert "nearest is gru" in told["lstm"][1]
    assert str(caught.value).startswith("Odd: 4 calls have no counterpart")


ROUTES = {
    "heads of channels": lambda self, x: x.view(x.shape[0], 2, 3, 4).transpose(1, 2).reshape(x.shape[0], -1),
    "the last place": lambda self, x: x[:, :, -1] * 2 - 1,
    "means of some": lambda self, x: x.mean(-1, keepdim=True).expand(-1, -1, 1).squeeze(-1),
    "largest": lambda self, x: x.amax(dim=1),
    "softmax over places": lambda self, x: torch.softmax(x, dim=1) * x,
    "a mark for each": lambda self, x: x + torch.arange(24.0).reshape(6, 4) / 10,
    "a mark for each place": lambda self, x: x * torch.arange(4.0) / 10,
    "stacked": lambda self, x: torch.stack([x, -x], dim=2).flatten(1),
    "tanh gelu": lambda self, x: functional.gelu(x, approximate="tanh"),
    "clamped": lambda self, x: functional.relu6(x).clamp(0.1, 0.9) / 3,
    "mish": lambda self, x: functional.mish(x) + functional.hardsigmoid(x) + functional.logsigmoid(x),
    "powers": lambda self, x: x**2 + x.square() * 0.5 - x**3,
    "samples in the middle": lambda self, x: self.layer(x.transpose(0, 1)).transpose(0, 1),
}


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_a_block_takes_every_route_that_its_module_takes(name):
    module = Function(ROUTES[name], layer=nn.Linear(4, 3))
    x = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(3))
    found = run_block(TensorBlock.from_torch(module, x), {"x": x})["output"]
    torch.testing.assert_close(found, module(x).detach(), atol=1e-5, rtol=1e-5)


def test_the_module_is_not_changed_and_evaluation_is_meant():
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9), nn.BatchNorm1d(3)).double()
    module.train()
    TensorBlock.from_torch(module, torch.randn(4, 3, dtype=torch.float64))
    assert module.training
    assert module[0].weight.dtype is torch.float64


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda self, x: x if x.sum() > 0 else -x, "cannot capture Function"),
        (lambda self, x: torch.nn.functional.dropout(x, training=True), "drops entries"),
        (lambda self, x: torch.ones(2), "depends on no input"),
    ],
)
def test_a_module_that_is_no_function_of_its_inputs_is_refused(function, message):
    with pytest.raises(InputError, match=message):
        block_of(function, 3)


def test_paths_of_parameters_are_their_names_unless_a_module_cannot_have_them():
    paths = parameter_paths(["a.weight", "0.bias", "forward.weight", "a", "x-y.weight", "x_y.weight"])
    assert (paths["a.weight"], paths["0.bias"], paths["forward.weight"]) == ("a_weight", "0.bias", "forward_.weight")
    assert len(set(paths.values())) == len(paths)
