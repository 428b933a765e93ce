"""``embedding``: whole numbers become learned vectors. ``positional_encoding`` and ``positional_embedding``: each place of
a sequence gets a mark, fixed or learned.

Sequences are ``[units, places]``, units first, as ``conv1d`` has them. Token ids ``[L]`` come from an integer channel; they
travel through a stack as float32, which holds every whole number that a table can have (below 2**20) exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from population.errors import InputError, InvalidGraph
from population.lazy_torch import functional, torch
from population.operations.attributes import dimension, optional_size, positive, size_or_sizes
from population.operations.dimensions import Shape, constant, fixed, format_shape, parse_dim
from population.operations.registry import Attributes, Call, Inferred, Operation, ParameterSpec, register


def _infer_embedding(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,), counts = inputs, attributes["num_embeddings"]
    if any(constant(dim) is None for dim in shape):
        raise InvalidGraph(f"expected ids of a fixed shape, got {format_shape(shape)}: embed an input channel")
    if isinstance(counts, tuple) and shape != (fixed(len(counts)),):
        raise InvalidGraph(
            f"expected ids [{len(counts)}], one for each number in num_embeddings, got {format_shape(shape)}"
        )
    out, total = parse_dim(attributes["out"]), sum(counts) if isinstance(counts, tuple) else int(counts)
    # a fan-in of 2 makes first weights of deviation 1, as in torch.nn.Embedding
    weight = ParameterSpec((fixed(total), out), fan_in=fixed(2), axes=("", "out"))
    return Inferred((out, *shape), {"weight": weight})


def _table_rows(ids: torch.Tensor, attributes: Attributes, axis: int) -> torch.Tensor:
    """The row of the table that each id means, int64; ``axis`` is that of the columns, where each has a part of its own.

    Raises: InputError for what is no id, or none of this table.
    """
    counts, rows = attributes["num_embeddings"], ids.to(torch.int64)
    sizes = torch.tensor(counts if isinstance(counts, tuple) else [counts])  # [C] or [1]
    sizes = sizes.reshape(-1, *(1,) * (ids.dim() - 1 - axis)) if isinstance(counts, tuple) else sizes
    bad = (rows != ids) | (rows < 0) | (rows >= sizes)
    if not torch.compiler.is_exporting() and bool(bad.any()):
        found = ids[bad][0].item()
        raise InputError(
            f"embedding: {found:g} is no id of its table of {counts}: ids are whole numbers from 0 below that"
        )
    return rows + (sizes.cumsum(0) - sizes) if isinstance(counts, tuple) else rows


def _run_embedding(call: Call) -> torch.Tensor:
    (ids,), weight = call.inputs, call.parameters["weight"]
    num_rows, num_ids, units = weight.shape
    rows = _table_rows(ids, call.attributes, axis=1)
    first = torch.arange(num_rows).reshape(-1, *(1,) * (ids.dim() - 1)) * num_ids
    found = functional.embedding(rows + first, weight.reshape(num_rows * num_ids, units))  # [P, *shape, N, E]
    return found.movedim(-1, 1).contiguous()


def _run_embedding_single(call: Call) -> torch.Tensor:
    rows = _table_rows(call.inputs[0], call.attributes, axis=1)
    return functional.embedding(rows, call.parameters["weight"]).movedim(-1, 1)


embedding = register(
    Operation(
        "embedding",
        _infer_embedding,
        lambda inputs, output, attributes: 0,  # a look-up computes nothing
        _run_embedding,
        _run_embedding_single,
        {"num_embeddings": size_or_sizes(), "out": dimension()},
        keeps_zero=True,
    )
)


def _check_sequence(shape: Shape) -> None:
    if len(shape) != 2 or constant(shape[1]) is None:
        raise InvalidGraph(f"expected a sequence [units, places] of a fixed length, got {format_shape(shape)}")


def _infer_encoding(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,) = inputs
    _check_sequence(shape)
    if "width" not in attributes and constant(shape[0]) is None:
        raise InvalidGraph(
            "attribute 'width' is missing: where units have a width symbol, name the d of the formula, so that every "
            "width gets the same marks, e.g. width: 32"
        )
    return Inferred(shape)


@functools.lru_cache(maxsize=64)
def sinusoids(units: int, places: int, width: int, base: float) -> torch.Tensor:
    """The marks of each place, float32 ``[units, places]``; shared memory, not to be changed.

    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, sec. 3.5: unit 2i of place p has
    ``sin(p / base ** (2 i / width))``, unit 2i + 1 the cosine.
    """
    unit = torch.arange(units, dtype=torch.float64)[:, None]
    exponent = 2 * torch.div(unit, 2, rounding_mode="floor") / width
    angle = torch.arange(places, dtype=torch.float64) / torch.pow(torch.tensor(base, dtype=torch.float64), exponent)
    return torch.where(unit % 2 == 0, torch.sin(angle), torch.cos(angle)).to(torch.float32)


def _marks(call: Call) -> torch.Tensor:
    units, places = call.sizes
    width, base = call.attributes.get("width", units), call.attributes["base"]
    return sinusoids(units, places, int(width), float(base))  # type: ignore[arg-type]


positional_encoding = register(
    Operation(
        "positional_encoding",
        _infer_encoding,
        lambda inputs, output, attributes: math.prod(output),
        lambda call: call.inputs[0] + _marks(call)[..., None],
        lambda call: call.inputs[0] + _marks(call),
        {"width": optional_size(), "base": positive(10_000.0)},
        orders_units=True,
    )
)
"""Adds fixed marks to a sequence."""


def _infer_positional_embedding(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,) = inputs
    _check_sequence(shape)
    return Inferred(shape, {"weight": ParameterSpec(shape, role="bias", axes=("unit", ""))})


positional_embedding = register(
    Operation(
        "positional_embedding",
        _infer_positional_embedding,
        lambda inputs, output, attributes: math.prod(output),
        lambda call: call.inputs[0] + call.parameters["weight"][..., None],
        lambda call: call.inputs[0] + call.parameters["weight"],
        keeps_zero=True,
    )
)
"""Adds learned marks to a sequence, zero at first."""
