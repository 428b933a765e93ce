"""``gru``: a state that is carried from place to place of a sequence.

Computes what ``torch.nn.GRU`` of one layer and one direction does, with its parameters and its order of gates (reset,
update, new). A narrower row uses the first units of each gate.

Source: Cho et al. 2014, https://arxiv.org/abs/1406.1078, eq. 5 to 8, with the reset gate after the product, as in torch.

Shapes: P candidates, E units read, h units of the state, L places, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from population.errors import InvalidGraph
from population.lazy_torch import torch
from population.operations import kernels
from population.operations.attributes import choice, dimension, flag
from population.operations.dimensions import Shape, format_shape, normal, parse_dim
from population.operations.layers.activation import whole_vectors
from population.operations.registry import Attributes, Call, Inferred, Operation, ParameterSpec, Sizes, register
from population.operations.sequences.masks import check_mask


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if len(inputs[0]) != 2:
        raise InvalidGraph(f"expected a sequence [units, places], got {format_shape(inputs[0])}: reshape it")
    reads, places = inputs[0]
    check_mask(inputs, places)
    state = parse_dim(attributes["out"])
    gates = normal((*state, *state, *state))  # reset, update, new
    parameters = {
        "weight_ih": ParameterSpec((gates, reads), fan_in=reads, axes=("out", "in")),
        "weight_hh": ParameterSpec((gates, state), fan_in=state, axes=("out", "in")),
    }
    if attributes["bias"]:
        for role in ("bias_ih", "bias_hh"):
            parameters[role] = ParameterSpec((gates,), fan_in=state, role="bias", axes=("out",))
    return Inferred((state, places) if attributes["returns"] == "sequence" else (state,), parameters)


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    (units, places), state, bias = inputs[0], output[0], int(bool(attributes["bias"]))
    products = 3 * state * (2 * units + bias) + 3 * state * (2 * state + bias)
    return places * (products + 13 * state)  # two sums and sigmoids of 3, a product, a sum, a tanh and the new state


def _order(call: Call, places: int) -> range:
    return range(places - 1, -1, -1) if call.attributes["reverse"] else range(places)


def _run(call: Call) -> torch.Tensor:
    num_samples = call.inputs[0].shape[-1]
    values = whole_vectors(call.inputs[0])
    _, units, places, samples = values.shape
    mask = whole_vectors(call.inputs[1]) != 0 if len(call.inputs) > 1 else None  # [P, L, N]
    weight = call.parameters["weight_ih"]
    read = kernels.affine(values.reshape(values.shape[0], units, -1), weight, call.parameters.get("bias_ih"))
    read = read.reshape(*read.shape[:2], places, samples)  # [P, 3 h, L, N]
    state = values.new_zeros(read.shape[0], read.shape[1] // 3, samples)
    states: dict[int, torch.Tensor] = {}
    for place in _order(call, places):
        kept = kernels.affine(state, call.parameters["weight_hh"], call.parameters.get("bias_hh"))
        new = _step(read[:, :, place], kept, state)
        live = None if mask is None else mask[:, None, place]
        state = new if live is None else torch.where(live, new, state)
        states[place] = new if live is None else new * live
    if call.attributes["returns"] == "last":
        return state[..., :num_samples]
    return torch.stack([states[place] for place in range(places)], dim=2)[..., :num_samples]


def _step(read: torch.Tensor, kept: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """The next state ``[P, h, N]``, from what was read and what was kept, ``[P, 3 h, N]`` each."""
    units = state.shape[1]
    gates = torch.sigmoid(read[:, : 2 * units] + kept[:, : 2 * units])
    reset, update = gates[:, :units], gates[:, units:]
    new = torch.tanh(read[:, 2 * units :] + reset * kept[:, 2 * units :])
    return new + update * (state - new)


def _run_single(call: Call) -> torch.Tensor:
    values = call.inputs[0]  # [N, E, L]
    weights = [call.parameters[name] for name in ("weight_ih", "weight_hh")]
    biases = [call.parameters[name] for name in ("bias_ih", "bias_hh") if name in call.parameters]
    if len(call.inputs) == 1:
        return _whole_layer(call, [*weights, *biases])
    state = values.new_zeros(values.shape[0], weights[1].shape[1])
    states: dict[int, torch.Tensor] = {}
    for place in _order(call, values.shape[2]):
        new = torch.gru_cell(values[:, :, place], state, *weights, *biases)
        live = call.inputs[1][:, place, None] != 0
        state, states[place] = torch.where(live, new, state), new * live
    if call.attributes["returns"] == "last":
        return state
    return torch.stack([states[place] for place in range(values.shape[2])], dim=2)


def _whole_layer(call: Call, weights: list[torch.Tensor]) -> torch.Tensor:
    """The same without padding: torch's own layer, which formats such as ONNX know as one."""
    places = call.inputs[0].transpose(1, 2)  # [N, L, E]
    if call.attributes["reverse"]:
        places = places.flip(1)
    state = places.new_zeros(1, places.shape[0], weights[1].shape[1])
    found, last = torch.gru(places, state, weights, bool(call.attributes["bias"]), 1, 0.0, False, False, True)
    if call.attributes["returns"] == "last":
        return last[0]
    return (found.flip(1) if call.attributes["reverse"] else found).transpose(1, 2)


gru = register(
    Operation(
        "gru",
        _infer,
        _flops,
        _run,
        _run_single,
        {
            "out": dimension(),
            "returns": choice("sequence", "last"),
            "reverse": flag(False),
            "bias": flag(True),
        },
        num_inputs=(1, 2),
        keeps_zero=True,
    )
)
"""A sequence, and where there is padding its mask ``[L]``: padded places leave the state as it is and give zeros.

Gives the state at every place ``[h, L]``, or the last one ``[h]``. ``reverse`` goes from the last place to the first;
concatenated with the other direction it is a bidirectional one.
"""
