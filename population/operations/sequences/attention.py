"""``multi_head_attention``: every place of a sequence reads from all places, or from those up to itself.

Computes what ``torch.nn.MultiheadAttention`` does with query, key and value from one sequence, with its parameters; but
the width of a head, the number of heads and the units made are free. One of heads and head width may carry width
symbols: a narrower row uses the first of its heads, or the first units of each of them.

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, sec. 3.2.

Shapes: P candidates, E units read, H heads, d width of a head, m units made, L places, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from population.errors import InvalidGraph
from population.lazy_torch import functional, torch
from population.operations import kernels
from population.operations.attributes import dimension, flag
from population.operations.dimensions import Dim, Shape, flatten, format_shape, normal, parse_dim
from population.operations.registry import Attributes, Call, Inferred, Operation, ParameterSpec, Sizes, register
from population.operations.sequences.masks import check_mask


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if len(inputs[0]) != 2:
        raise InvalidGraph(f"expected a sequence [units, places], got {format_shape(inputs[0])}: reshape it")
    reads, places = inputs[0]
    check_mask(inputs, places)
    inner, out = _inner(attributes), parse_dim(attributes["out"])
    three = normal((*inner, *inner, *inner))  # queries, keys, values
    parameters = {
        "in_proj_weight": ParameterSpec((three, reads), fan_in=reads, axes=("out", "in")),
        "out_proj_weight": ParameterSpec((out, inner), fan_in=inner, axes=("out", "in")),
    }
    if attributes["bias"]:
        parameters["in_proj_bias"] = ParameterSpec((three,), fan_in=reads, role="bias", axes=("out",))
        parameters["out_proj_bias"] = ParameterSpec((out,), fan_in=inner, role="bias", axes=("out",))
    return Inferred((out, places), parameters)


def _inner(attributes: Attributes) -> Dim:
    """Heads by head width, flattened: units of all heads, head after head."""
    try:
        return flatten((parse_dim(attributes["heads"]), parse_dim(attributes["head_width"])))
    except InvalidGraph as error:
        raise InvalidGraph(f"heads by head_width: {error}") from error


def _sizes(attributes: Attributes) -> tuple[int, int]:
    return int(attributes["heads"]), int(attributes["head_width"])  # type: ignore[arg-type]


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    heads, width = _sizes(attributes)
    (units, places), made, bias = inputs[0], output[0], int(bool(attributes["bias"]))
    projections = places * (3 * heads * width * (2 * units + bias) + made * (2 * heads * width + bias))
    pairs = heads * places * places
    return projections + heads * width * places + pairs * (2 * width + 5 + 2 * width)  # scale, scores, softmax, sums


def _run(call: Call) -> torch.Tensor:
    values, (heads, width) = call.inputs[0], _sizes(call.attributes)
    _, units, places, samples = values.shape
    weight, bias = call.parameters["in_proj_weight"], call.parameters.get("in_proj_bias")
    num_rows = weight.shape[0]
    projected = kernels.affine(values.reshape(values.shape[0], units, places * samples), weight, bias)
    parts = projected.reshape(num_rows, 3, heads, width, places, samples).permute(1, 0, 2, 5, 4, 3)
    query, key, value = (part.reshape(-1, places, width) for part in parts)  # [P * H * N, L, d]
    live = call.live.get("head_width", torch.tensor([width]))
    scale = torch.rsqrt(live.to(torch.float32)).reshape(-1, 1, 1, 1)
    scores = kernels.affine(key.transpose(1, 2).contiguous(), query, None)  # [P * H * N, L, L]
    scores = scores.reshape(num_rows, heads, samples, places * places) * scale
    shares = _shares(scores.reshape(num_rows, heads, samples, places, places), call)
    read = kernels.affine(value, shares.reshape(-1, places, places), None)  # [P * H * N, L, d]
    joined = read.reshape(num_rows, heads, samples, places, width).permute(0, 1, 4, 3, 2)
    weight, bias = call.parameters["out_proj_weight"], call.parameters.get("out_proj_bias")
    result = kernels.affine(joined.reshape(num_rows, heads * width, places * samples), weight, bias)
    return result.reshape(num_rows, -1, places, samples)


def _shares(scores: torch.Tensor, call: Call) -> torch.Tensor:
    """How much each place reads of each other one; nothing where no place may be read.

    Shapes: scores ``[P, H, N, L, L]``, the last axis being the places that are read.
    """
    places = scores.shape[-1]
    allowed = torch.ones(1, 1, 1, places, places, dtype=torch.bool)
    if call.attributes["causal"]:
        allowed = allowed.tril()
    if len(call.inputs) > 1:
        mask = call.inputs[1].movedim(-1, 1) != 0  # [P, N, L]
        allowed = allowed & mask[:, None, :, None, :]
    readable = allowed.any(dim=-1, keepdim=True)
    return torch.softmax(scores.masked_fill(~allowed & readable, -torch.inf), dim=-1) * readable


def _run_single(call: Call) -> torch.Tensor:
    values, (heads, width) = call.inputs[0].movedim(1, -1), _sizes(call.attributes)  # [N, L, E]
    samples, places, _ = values.shape
    parts = functional.linear(values, call.parameters["in_proj_weight"], call.parameters.get("in_proj_bias"))
    query, key, value = parts.reshape(samples, places, 3, heads, width).permute(2, 0, 3, 1, 4)
    allowed = torch.ones(samples, 1, places, places, dtype=torch.bool)
    if call.attributes["causal"]:
        allowed = allowed.tril()
    if len(call.inputs) > 1:
        allowed = allowed & (call.inputs[1] != 0)[:, None, None, :]
    readable = allowed.any(dim=-1, keepdim=True)
    read = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed | ~readable) * readable
    joined = read.permute(0, 2, 1, 3).reshape(samples, places, heads * width)
    made = functional.linear(joined, call.parameters["out_proj_weight"], call.parameters.get("out_proj_bias"))
    return made.movedim(-1, 1)


multi_head_attention = register(
    Operation(
        "multi_head_attention",
        _infer,
        _flops,
        _run,
        _run_single,
        {
            "out": dimension(),
            "heads": dimension(is_inner=True),
            "head_width": dimension(is_inner=True),
            "causal": flag(False),
            "bias": flag(True),
        },
        num_inputs=(1, 2),
        keeps_zero=True,
    )
)
"""A sequence, and where there is padding its mask ``[L]``: padded places are not read. A place that may read none gives
the output's bias (torch gives NaN).
"""
