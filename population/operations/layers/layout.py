"""``flatten`` and ``reshape``: the same entries in the same order under other axes; ``permute``: the axes in another order;
``narrow``: a run of entries along one axis. Nothing is computed.
"""

from __future__ import annotations

from collections.abc import Sequence

from population.errors import InvalidGraph
from population.lazy_torch import torch
from population.operations.attributes import order as order_kind
from population.operations.attributes import shape as shape_kind
from population.operations.attributes import size
from population.operations.dimensions import Shape, constant, fixed, flatten, format_dim, format_shape, parse_dim
from population.operations.registry import Attributes, Call, Inferred, Operation, Sizes, register


def _no_flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 0


def _infer_flatten(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred((flatten(inputs[0]),))


def _run_flatten(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return values.reshape(values.shape[0], -1, values.shape[-1])


flatten_ = register(
    Operation(
        "flatten",
        _infer_flatten,
        _no_flops,
        _run_flatten,
        lambda call: (
            torch.flatten(call.inputs[0], start_dim=1) if call.inputs[0].dim() > 1 else call.inputs[0][:, None]
        ),
        keeps_zero=True,
    )
)


def _infer_reshape(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    wanted = tuple(parse_dim(dim) for dim in attributes["shape"])  # type: ignore[union-attr]
    has, asks = flatten(inputs[0]), flatten(wanted)
    if has != asks:
        raise InvalidGraph(
            f"expected a shape that flattens to {format_dim(has)}, as the input does, got {format_dim(asks)}"
        )
    return Inferred(wanted)


def _run_reshape(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return values.reshape(values.shape[0], *call.sizes, values.shape[-1])


def _run_reshape_single(call: Call) -> torch.Tensor:
    (values,) = call.inputs
    return torch.reshape(values, (values.shape[0], *call.sizes))


reshape = register(
    Operation(
        "reshape",
        _infer_reshape,
        _no_flops,
        _run_reshape,
        _run_reshape_single,
        {"shape": shape_kind()},
        keeps_zero=True,
    )
)


def _order(attributes: Attributes) -> tuple[int, ...]:
    order = attributes["order"]
    assert isinstance(order, tuple)
    return order


def _infer_permute(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,), order = inputs, _order(attributes)
    if len(order) != len(shape):
        raise InvalidGraph(f"expected an order of {len(shape)} axes, as {format_shape(shape)} has, got {list(order)}")
    return Inferred(tuple(shape[axis] for axis in order))


def _run_permute(call: Call) -> torch.Tensor:
    (values,), order = call.inputs, _order(call.attributes)
    return values.permute(0, *(1 + axis for axis in order), values.dim() - 1)


permute = register(
    Operation(
        "permute",
        _infer_permute,
        _no_flops,
        _run_permute,
        lambda call: call.inputs[0].permute(0, *(1 + axis for axis in _order(call.attributes))),
        {"order": order_kind()},
        keeps_zero=True,
    )
)


def _infer_narrow(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    (shape,) = inputs
    axis, start, length = _cut(attributes)
    if axis >= len(shape):
        raise InvalidGraph(f"there is no axis {axis}: {format_shape(shape)} has {len(shape)}, counted from 0")
    most = constant(shape[axis])
    if most is None:
        raise InvalidGraph(f"an axis of fixed size is cut, got {format_dim(shape[axis])}: give it a fixed size")
    if start + length > most:
        raise InvalidGraph(f"entries {start} to {start + length} lie outside axis {axis} of {most}")
    return Inferred((*shape[:axis], fixed(length), *shape[axis + 1 :]))


def _cut(attributes: Attributes) -> tuple[int, int, int]:
    axis, start, length = (attributes[name] for name in ("axis", "start", "length"))
    assert isinstance(axis, int)
    assert isinstance(start, int)
    assert isinstance(length, int)
    return axis, start, length


def _run_narrow(call: Call) -> torch.Tensor:
    axis, start, length = _cut(call.attributes)
    return call.inputs[0].narrow(1 + axis, start, length)


narrow = register(
    Operation(
        "narrow",
        _infer_narrow,
        _no_flops,
        _run_narrow,
        _run_narrow,
        {"axis": size(0, least=0), "start": size(0, least=0), "length": size()},
        keeps_zero=True,
    )
)
