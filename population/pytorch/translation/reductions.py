"""Poolings, means and shares: what brings several entries together.

Nouns: none.
"""

from __future__ import annotations

import math
from typing import Any

from population.pytorch.translation.arrangement import Value, positions
from population.pytorch.translation.capture import NUM_SAMPLES
from population.pytorch.translation.drafts import NoCounterpart, Sketch
from population.pytorch.translation.layers import numbers
from population.pytorch.translation.registry import Arguments, Mapped, mapped


@mapped("max_pool1d", "max_pool2d", "max_pool1d_with_indices", "max_pool2d_with_indices")
def _max_pool(sketch: Sketch, call: Arguments) -> Mapped:
    axes = 1 if "1d" in call.target.__name__ else 2
    if any(step != 1 for step in numbers(call.get(4, "dilation", 1), axes)):
        raise NoCounterpart("a dilation, where 1 is what there is")
    made = _pool(sketch, call, f"max_pool{axes}d", axes)
    return [made, None] if "indices" in call.target.__name__ else made


@mapped("avg_pool1d", "avg_pool2d")
def _avg_pool(sketch: Sketch, call: Arguments) -> Mapped:
    axes = 1 if "1d" in call.target.__name__ else 2
    is_padded = any(numbers(call.get(3, "padding", 0), axes))
    if is_padded and not call.get(5, "count_include_pad", True):
        raise NoCounterpart("an average that does not count its padding")
    if call.get(6, "divisor_override") is not None:
        raise NoCounterpart("an average with a divisor of its own")
    return _pool(sketch, call, f"avg_pool{axes}d", axes)


def _pool(sketch: Sketch, call: Arguments, op: str, axes: int) -> Value:
    kernel = numbers(call.get(1, "kernel_size"), axes)
    stride = numbers(call.get(2, "stride") or kernel, axes)
    padding = numbers(call.get(3, "padding", 0), axes)
    whole = sketch.whole(call.value(0))
    sizes = [
        (size + 2 * pad - length) // step + 1
        for size, pad, length, step in zip(whole.sizes[1:], padding, kernel, stride, strict=True)
    ]
    if call.shape is not None and tuple(sizes) != tuple(call.shape[2:]):
        raise NoCounterpart("windows that reach beyond the edge (ceil_mode)")
    steps: dict[str, Any] = {} if stride == kernel else {"stride": stride}
    return sketch.add(op, [whole], (whole.sizes[0], *sizes), kernel=kernel, padding=padding, **steps)


@mapped("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive(sketch: Sketch, call: Arguments) -> Mapped:
    name = call.target.__name__
    axes, op = (1 if "1d" in name else 2), ("avg" if "avg" in name else "max")
    whole = sketch.whole(call.value(0))
    asked = call.get(1, "output_size")
    asked = [asked] * axes if isinstance(asked, int) else list(asked)
    wanted = [has if size is None else size for size, has in zip(asked, whole.sizes[1:], strict=True)]
    if any(has % size for has, size in zip(whole.sizes[1:], wanted, strict=True)):
        raise NoCounterpart(f"pools {list(whole.sizes[1:])} to {wanted}: windows of unequal size")
    kernel = [has // size for has, size in zip(whole.sizes[1:], wanted, strict=True)]
    made = sketch.add(f"{op}_pool{axes}d", [whole], (whole.sizes[0], *wanted), kernel=kernel)
    return [made, None] if op == "max" else made


@mapped("mean", "sum", "amax")
def _reduce(sketch: Sketch, call: Arguments) -> Mapped:
    value, name = call.value(0), call.target.__name__.partition(".")[0]  # "max" takes one axis
    dims = call.get(1, "dim")
    rank = len(value.shape)
    axes = sorted({int(dim) % rank for dim in ([dims] if isinstance(dims, int) else dims or range(rank))})
    if axes[0] == 0:
        raise NoCounterpart("brings samples together")
    rest = [axis for axis in range(rank) if axis not in axes]
    index = value.index.permute(*rest, *axes)
    count = math.prod(value.shape[axis] for axis in axes)
    whole = sketch.whole(value.moved(index.reshape(NUM_SAMPLES, -1, count)))
    units = whole.sizes[0]
    if name in ("amax", "max"):
        made = sketch.add("max_pool1d", [whole], (units, 1), kernel=count)
    else:
        made = sketch.add("masked_mean", [whole], (units,))
    if name == "sum":
        made = sketch.entry_by_entry("multiply", made, value=float(count))
    shape = [1 if axis in axes else size for axis, size in enumerate(value.shape)]
    if not call.get(2, "keepdim", False):
        shape = [value.shape[axis] for axis in rest]
    return made.moved(positions(NUM_SAMPLES, units).reshape(shape))


@mapped("max")
def _max(sketch: Sketch, call: Arguments) -> Mapped:
    if not isinstance(call.get(1, "dim"), int):
        raise NoCounterpart("the largest of all samples, or of two values")
    return [_reduce(sketch, call), None]


@mapped("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(sketch: Sketch, call: Arguments) -> Mapped:
    value, op = call.value(0), call.target.__name__.partition(".")[0].lstrip("_")
    axis = int(call.get(1, "dim")) % len(value.shape)
    if axis == 0:
        raise NoCounterpart("shares among samples")
    whole = sketch.whole(value.moved(value.index.movedim(axis, 1)))
    made = sketch.add(op, [whole], whole.sizes)
    return made.moved(made.index.movedim(1, axis))
