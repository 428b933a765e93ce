"""Operations that only move entries, and those that do nothing in evaluation mode: applied to positions.

Nouns: none.
"""

from __future__ import annotations

from typing import Any

import torch

from population.pytorch.translation.arrangement import Constant, Value
from population.pytorch.translation.drafts import NoCounterpart, Sketch
from population.pytorch.translation.registry import Arguments, Mapped, mapped

_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@mapped(
    "view", "reshape", "_unsafe_view", "flatten", "unflatten", "transpose", "permute", "t", "squeeze", "unsqueeze",
    "expand", "select", "slice", "narrow", "chunk", "split", "split_with_sizes", "unbind", "movedim", "swapaxes",
    "swapdims", "numpy_T", "mT", "tensor_split", "view_as", "reshape_as", "expand_as", "ravel", "diagonal", "repeat",
    "flip",
)  # fmt: skip
def _move(sketch: Sketch, call: Arguments) -> Mapped:
    value = call.value(0)
    args = [item.index.contiguous() if isinstance(item, Value) else item for item in call.given]
    found = call.target(*args, **call.named)
    if isinstance(found, torch.Tensor):
        return value.moved(found, sketch.here)
    return [value.moved(part, f"{sketch.here}_{place}") for place, part in enumerate(found)]


@mapped(
    "contiguous", "clone", "detach", "alias", "lift_fresh_copy", "lift_fresh", "dropout", "feature_dropout",
    "alpha_dropout", "feature_alpha_dropout", "native_dropout", "positive", "resolve_conj", "resolve_neg",
)  # fmt: skip
def _nothing(sketch: Sketch, call: Arguments) -> Mapped:
    if call.target.__name__.startswith(("dropout", "feature", "alpha")) and call.get(2, "train"):
        raise NoCounterpart("drops entries in evaluation mode too")
    return call.value(0)


@mapped("to", "_to_copy", "type_as", "float")
def _convert(sketch: Sketch, call: Arguments) -> Mapped:
    value, dtype = call.value(0), call.named.get("dtype")
    for item in call.given[1:]:
        dtype = item if isinstance(item, torch.dtype) else dtype
    if dtype is None or dtype in _FLOATING or (value.is_integer and not dtype.is_floating_point):
        return value
    raise NoCounterpart(f"turns numbers into {str(dtype).removeprefix('torch.')}: a block computes in float32")


@mapped("sym_size")
def _size(sketch: Sketch, call: Arguments) -> Mapped:
    return call.value(0).shape[call.get(1, "dim")]


@mapped("cat", "concat", "concatenate")
def _concatenate(sketch: Sketch, call: Arguments) -> Mapped:
    parts, dim = call.given[0], int(call.get(1, "dim", 0))
    if not all(isinstance(part, Value) for part in parts):
        raise NoCounterpart("joins a tensor of the module to one that depends on inputs")
    if len(parts) == 1:
        return parts[0]
    return _joined(sketch, parts, dim % len(parts[0].shape))


@mapped("stack")
def _stack(sketch: Sketch, call: Arguments) -> Mapped:
    parts, dim = call.given[0], int(call.get(1, "dim", 0))
    if not all(isinstance(part, Value) for part in parts):
        raise NoCounterpart("joins a tensor of the module to one that depends on inputs")
    dim %= len(parts[0].shape) + 1
    return _joined(sketch, [part.moved(part.index.unsqueeze(dim)) for part in parts], dim)


def _joined(sketch: Sketch, parts: list[Value], dim: int) -> Value:
    if dim == 0:
        raise NoCounterpart("joins samples")
    firsts = [sketch.whole(part.moved(part.index.movedim(dim, 1))) for part in parts]
    units = sum(first.sizes[0] for first in firsts)
    made = sketch.add("concatenate", firsts, (units, *firsts[0].sizes[1:]))
    return made.moved(made.index.movedim(1, dim))


@mapped("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full")
def _constant_like(sketch: Sketch, call: Arguments) -> Mapped:
    value = call.value(0)
    args: list[Any] = [torch.zeros(value.shape), *call.given[1:]]
    kept = {name: item for name, item in call.named.items() if name not in ("pin_memory", "layout")}
    return Constant(call.target(*args, **kept))
