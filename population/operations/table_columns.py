"""``impute``, ``isnan``, ``standardize`` and ``one_hot``: what stands between a table's raw columns and a network.

Their numbers are attributes, one for each entry of the first axis: fitted once, never trained. A missing number is NaN;
``impute`` and ``isnan`` are the operations that take it. All are exact entry by entry, so that any layout gives equal bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from population.errors import InvalidGraph
from population.lazy_torch import torch
from population.operations import dimensions as dims
from population.operations.attributes import AttributeKind, number, numbers, places
from population.operations.dimensions import Shape, fixed
from population.operations.registry import Attributes, Call, Inferred, Operation, Sizes, register

Flops = Callable[[Sequence[Sizes], Sizes, Attributes], int]


def _length(shape: Shape) -> int:
    """The size of the first axis, which must be fixed: each of its entries has numbers of its own."""
    size = dims.constant(shape[0]) if shape else None
    if size is None:
        raise InvalidGraph("expected an input whose first axis has a fixed size, one entry for each column of a table")
    return size


def _infer_with(*names: str) -> Callable[[Sequence[Shape], Attributes], Inferred]:
    def infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
        size = _length(inputs[0])
        for name in names:
            if len(_listed(attributes, name)) != size:
                raise InvalidGraph(
                    f"{name}: expected {size} numbers, one for each entry of the first axis, got "
                    f"{len(_listed(attributes, name))}"
                )
        return Inferred(inputs[0])

    return infer


def _flops_each(count: int) -> Flops:
    return lambda inputs, output, attributes: (count + 4 * ("limit" in attributes)) * math.prod(output)


def _listed(attributes: Attributes, name: str) -> tuple[Any, ...]:
    found = attributes[name]
    assert isinstance(found, tuple)
    return found


@functools.lru_cache(maxsize=256)
def _constant(values: tuple[Any, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def _along(call: Call, name: str) -> torch.Tensor:
    """The numbers of an attribute, standing along the first axis of the value, which is axis 1 in both layouts."""
    values = _constant(_listed(call.attributes, name), torch.float32)
    return values.reshape(-1, *(1,) * (call.inputs[0].dim() - 2))


def _register(
    name: str,
    infer: Callable[[Sequence[Shape], Attributes], Inferred],
    flops: Flops,
    run: Callable[[Call], torch.Tensor],
    attributes: dict[str, AttributeKind],
    takes_nan: bool = False,
) -> Operation:
    return register(Operation(name, infer, flops, run, run, attributes, takes_nan=takes_nan))


def _impute(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return torch.where(torch.isnan(values), _along(call, "value"), values)


impute = _register("impute", _infer_with("value"), _flops_each(1), _impute, {"value": numbers()}, takes_nan=True)


def _infer_isnan(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    size, chosen = _length(inputs[0]), _listed(attributes, "positions")
    if max(chosen) >= size:
        raise InvalidGraph(f"positions: expected whole numbers below {size}, got {max(chosen)}")
    return Inferred((fixed(len(chosen)), *inputs[0][1:]))


def _isnan(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    chosen = values.index_select(1, _constant(_listed(call.attributes, "positions"), torch.int64))
    return torch.isnan(chosen).to(torch.float32)


isnan = _register("isnan", _infer_isnan, _flops_each(1), _isnan, {"positions": places()}, takes_nan=True)


def _infer_standardize(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if min(_listed(attributes, "deviation"), default=1.0) <= 0:
        raise InvalidGraph("deviation: expected numbers above 0; of a column that is constant write 1")
    if float(attributes.get("limit", 1.0)) <= 0:  # type: ignore[arg-type]
        raise InvalidGraph(f"limit: expected a number above 0, got {attributes['limit']}")
    return _infer_with("mean", "deviation")(inputs, attributes)


def _standardize(call: Call) -> torch.Tensor:
    """``z = (x - mean) / deviation``, and with a limit ``z / sqrt(1 + (z / limit)^2)``, which keeps outliers in sight of it.

    Source of the second: Holzmueller et al. 2024, https://arxiv.org/abs/2407.04491, sec. 3 ("smooth clipping").
    """
    (values,) = call.inputs
    scaled = (values - _along(call, "mean")) / _along(call, "deviation")
    if "limit" not in call.attributes:
        return scaled
    part = scaled / float(call.attributes["limit"])  # type: ignore[arg-type]
    return scaled / torch.sqrt(1.0 + part * part)


standardize = _register(
    "standardize",
    _infer_standardize,
    _flops_each(2),
    _standardize,
    {"mean": numbers(), "deviation": numbers(), "limit": number()},
)


def _infer_one_hot(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    if len(inputs[0]) != 1:
        raise InvalidGraph(f"expected one axis of codes, got {dims.format_shape(inputs[0])}: flatten it first")
    size, sizes = _length(inputs[0]), _listed(attributes, "sizes")
    if len(sizes) != size or min(sizes) < 1:
        raise InvalidGraph(f"sizes: expected {size} whole numbers above 0, one for each code, got {list(sizes)}"[:300])
    return Inferred((fixed(sum(sizes)),))


@functools.lru_cache(maxsize=256)
def _one_hot_table(sizes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """For every entry of the result, which code it looks at, and the value that makes it 1."""
    column = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    wanted = torch.cat([torch.arange(1, size + 1) for size in sizes])
    return column, wanted.to(torch.float32)


def _one_hot(call: Call) -> torch.Tensor:
    """Code k of 1 to a size marks its k-th place; 0, and what lies beyond, marks none."""
    (codes,) = call.inputs
    column, wanted = _one_hot_table(_listed(call.attributes, "sizes"))
    return (codes.index_select(1, column) == wanted.reshape(-1, *(1,) * (codes.dim() - 2))).to(torch.float32)


one_hot = _register(
    "one_hot",
    _infer_one_hot,
    lambda inputs, output, attributes: math.prod(output),
    _one_hot,
    {"sizes": places()},
)
