"""Which places of a sequence count, and their mean: ``not_equal``, ``sequence_mask`` and ``masked_mean``.

A mask is ``[L]``, zero where a place is padding. It comes from the padding's id (``not_equal`` on the token channel), from
a length (``sequence_mask``), or is an input channel of its own. Sequences are ``[units, places]``, units first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from population.errors import InvalidGraph
from population.lazy_torch import torch
from population.operations.attributes import number, size
from population.operations.dimensions import Dim, Shape, constant, fixed, format_shape
from population.operations.layers.activation import whole_vectors
from population.operations.registry import Attributes, Call, Inferred, Operation, Sizes, register


def check_mask(inputs: Sequence[Shape], places: Dim) -> None:
    """Refuses a second input that is not a mask over these places. Raises: InvalidGraph."""
    if constant(places) is None:
        raise InvalidGraph("expected a sequence [units, places] of a fixed length: its last axis has a width symbol")
    if len(inputs) > 1 and inputs[1] != (places,):
        raise InvalidGraph(f"expected a mask {format_shape((places,))} as second input, got {format_shape(inputs[1])}")


def _not_equal(call: Call) -> torch.Tensor:
    return torch.ne(call.inputs[0], float(call.attributes["value"])).to(torch.float32)  # type: ignore[arg-type]


not_equal = register(
    Operation(
        "not_equal",
        lambda inputs, attributes: Inferred(inputs[0]),
        lambda inputs, output, attributes: math.prod(output),
        _not_equal,
        _not_equal,
        {"value": number(0.0)},
    )
)


def _infer_sequence_mask(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if inputs[0] not in ((), (fixed(1),)):
        raise InvalidGraph(f"expected one length a sample, [] or [1], got {format_shape(inputs[0])}")
    return Inferred((fixed(int(attributes["size"])),))  # type: ignore[arg-type]


def _run_sequence_mask(call: Call) -> torch.Tensor:
    (lengths,), (places,) = call.inputs, call.sizes
    rows = lengths.reshape(lengths.shape[0], 1, lengths.shape[-1])
    return (torch.arange(places)[:, None] < rows).to(torch.float32)


def _run_sequence_mask_single(call: Call) -> torch.Tensor:
    (lengths,), (places,) = call.inputs, call.sizes
    return (torch.arange(places) < lengths.reshape(-1, 1)).to(torch.float32)


sequence_mask = register(
    Operation(
        "sequence_mask",
        _infer_sequence_mask,
        lambda inputs, output, attributes: math.prod(output),
        _run_sequence_mask,
        _run_sequence_mask_single,
        {"size": size()},
        keeps_zero=True,
    )
)


def _infer_masked_mean(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if not inputs[0]:
        raise InvalidGraph("expected an input with at least one axis: the last one is averaged")
    check_mask(inputs, inputs[0][-1])
    return Inferred(inputs[0][:-1])


def _flops_masked_mean(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return len(inputs) * math.prod(inputs[0]) + math.prod(output)


def _run_masked_mean(call: Call) -> torch.Tensor:
    given = call.inputs[0]
    values = whole_vectors(given)  # [P, *units, L, N]
    if len(call.inputs) == 1:
        return (values.sum(dim=-2) * (1.0 / values.shape[-2]))[..., : given.shape[-1]]
    mask = whole_vectors(call.inputs[1])
    live = (mask != 0).to(values.dtype).reshape(mask.shape[0], *(1,) * (values.dim() - 3), *mask.shape[1:])
    total = (values * live).sum(dim=-2) / live.sum(dim=-2).clamp(min=1.0)
    return total[..., : given.shape[-1]]


def _run_masked_mean_single(call: Call) -> torch.Tensor:
    values = call.inputs[0]
    if len(call.inputs) == 1:
        return values.mean(dim=-1)
    mask = call.inputs[1]
    live = (mask != 0).to(values.dtype).reshape(mask.shape[0], *(1,) * (values.dim() - 2), mask.shape[-1])
    return (values * live).sum(dim=-1) / live.sum(dim=-1).clamp(min=1.0)


masked_mean = register(
    Operation(
        "masked_mean",
        _infer_masked_mean,
        _flops_masked_mean,
        _run_masked_mean,
        _run_masked_mean_single,
        num_inputs=(1, 2),
        keeps_zero=True,
    )
)
"""The mean over the last axis, of the places that count; 0 where none does."""
