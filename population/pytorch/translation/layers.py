"""Layers with weights, and norms: ``linear``, ``conv1d``, ``conv2d``, batch and layer norms, products with a matrix.

Shapes: N samples, C units.

Nouns: *row* (the entries along the last axis at one place, which a linear layer reads together).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from population.pytorch.translation.arrangement import Constant, Sizes, Value, plan, positions
from population.pytorch.translation.capture import NUM_SAMPLES
from population.pytorch.translation.drafts import NoCounterpart, Sketch
from population.pytorch.translation.registry import Arguments, Mapped, mapped


def rows_first_of(value: Value) -> tuple[Value, Callable[[Value], Value]]:
    """The value with rows apart, ``[N, *places, C]``, and what brings such a value back among the places it had.

    Samples may stand anywhere but in the last axis. Raises: NoCounterpart.
    """
    if value.sample is not None:
        return value, lambda made: made
    units, places = value.shape[-1], value.shape[:-1]
    rows = value.index.reshape(-1, units)
    sample = torch.div(rows, value.num_entries, rounding_mode="floor")
    order = torch.argsort(sample[:, 0], stable=True)
    if len(rows) % NUM_SAMPLES or bool((sample != sample[:, :1]).any()):
        raise NoCounterpart("reads several samples at once")
    sorted_rows = rows[order].reshape(NUM_SAMPLES, -1, units)

    def back(made: Value) -> Value:
        flat = made.index.reshape(len(rows), -1)
        index = torch.empty_like(flat)
        index[order] = flat
        return made.moved(index.reshape(*places, -1))

    return value.moved(sorted_rows), back


@mapped("linear")
def _linear(sketch: Sketch, call: Arguments) -> Mapped:
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    assert weight is not None
    value = call.value(0, "input")
    if call.is_only_reader and value.name in sketch.open_attentions:
        made = _closed(sketch, value, weight, bias)
        if made is not None:
            return made
    return weighted(sketch, value, weight, bias)


def _closed(sketch: Sketch, value: Value, weight: Constant, bias: Constant | None) -> Value | None:
    """The attention that gives the value, with a linear layer as its output; None where something lies between."""
    rows, back = rows_first_of(value)
    units, places = rows.sizes
    if rows.sample is None or not torch.equal(rows.sample, positions(units, places).T):
        return None
    sketch.open_attentions.remove(value.name)
    out = int(weight.tensor.shape[0])
    draft = sketch.drafts[value.name]
    draft.sizes, draft.attributes["out"] = (out, places), out
    roles: dict[str, Constant | torch.Tensor] = {"out_proj_weight": weight}
    if bias is not None and not draft.attributes["bias"]:
        draft.attributes["bias"] = True
        roles["in_proj_bias"] = torch.zeros(len(sketch.tensors[draft.parameters["in_proj_weight"]]))
    if draft.attributes["bias"]:
        roles["out_proj_bias"] = bias if bias is not None else torch.zeros(out)
    sketch.set_parameters(draft, roles)
    made = Value.whole(value.name, (out, places), is_vague=value.is_vague)
    return back(made.moved(made.index.transpose(1, 2)))


def weighted(sketch: Sketch, value: Value, weight: Constant, bias: Constant | None) -> Value:
    """A linear layer: weights ``[out, in]`` on the last axis. Where units stand first already it is a convolution."""
    rows, back = rows_first_of(value)
    out = int(weight.tensor.shape[0])
    sizes = rows.shape[1:]
    constants = {"weight": weight, "bias": bias}
    has_bias = bias is not None
    if len(sizes) > 1 and not _stands_last(rows):
        return back(_by_convolution(sketch, rows, weight, bias))
    whole = sketch.whole(rows)
    return back(sketch.add("linear", [whole], (*sizes[:-1], out), constants, out=out, bias=has_bias))


def _stands_last(rows: Value) -> bool:
    """Whether no step is needed to bring units last, or as many as to bring them first."""
    last, first = (_num_steps(rows.sizes, index) for index in (rows.index, rows.index.movedim(-1, 1).flatten(2)))
    return last <= first


def _num_steps(sizes: Sizes, index: torch.Tensor) -> int:
    found = plan(sizes, index[0])
    return 99 if found is None else sum(op != "reshape" and op != "flatten" for op, _ in found)


def _by_convolution(sketch: Sketch, rows: Value, weight: Constant, bias: Constant | None) -> Value:
    places = rows.shape[1:-1]
    whole = sketch.whole(rows.moved(rows.index.movedim(-1, 1).flatten(2)))  # [N, C, places]
    out = int(weight.tensor.shape[0])
    constants = {"weight": Constant(weight.tensor[..., None], weight.name), "bias": bias}
    made = sketch.add("conv1d", [whole], (out, whole.sizes[1]), constants, out=out, kernel=1, bias=bias is not None)
    return made.moved(made.index.reshape(NUM_SAMPLES, out, *places).movedim(1, -1))


@mapped("addmm")
def _addmm(sketch: Sketch, call: Arguments) -> Mapped:
    if (call.named.get("beta", 1), call.named.get("alpha", 1)) != (1, 1):
        raise NoCounterpart("addmm with factors of its own")
    return _product(sketch, call.value(1, "mat1"), call.get(2, "mat2"), call.constant(0, "input"))


@mapped("mm", "matmul")
def _matmul(sketch: Sketch, call: Arguments) -> Mapped:
    if not isinstance(call.get(0, "self"), Value):
        raise NoCounterpart("a tensor of the module times what depends on inputs")
    return _product(sketch, call.value(0), call.get(1, "mat2"), None)


def _product(sketch: Sketch, value: Value, matrix: Any, bias: Constant | None) -> Value:
    if not isinstance(matrix, Constant) or matrix.tensor.dim() != 2:
        raise NoCounterpart("a product of two values that both depend on inputs, outside of an attention")
    return weighted(sketch, value, Constant(matrix.tensor.T), bias)


# ---- convolutions ----------------------------------------------------------------------------------------------------


def numbers(found: Any, axes: int) -> list[int]:
    """A number an axis."""
    return [int(found)] * axes if isinstance(found, int) else [int(item) for item in (found * axes)[:axes]]


@mapped("conv1d")
def _conv1d(sketch: Sketch, call: Arguments) -> Mapped:
    return _convolution(sketch, call, 1)


@mapped("conv2d")
def _conv2d(sketch: Sketch, call: Arguments) -> Mapped:
    return _convolution(sketch, call, 2)


def _convolution(sketch: Sketch, call: Arguments, axes: int) -> Value:
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    assert weight is not None
    stride, dilation = (numbers(call.get(place, name, 1), axes) for place, name in ((3, "stride"), (5, "dilation")))
    if any(step != 1 for step in dilation):
        raise NoCounterpart(f"a dilation of {dilation}, where 1 is what there is")
    if call.get(6, "groups", 1) != 1:
        raise NoCounterpart(f"{call.get(6, 'groups')} groups, where 1 is what there is")
    kernel = list(weight.tensor.shape[2:])
    padding = _padding(call.get(4, "padding", 0), kernel, axes)
    whole = sketch.whole(call.value(0, "input"))
    if len(whole.sizes) != axes + 1:
        raise NoCounterpart(f"an input without samples, {list(whole.sizes)}")
    out = int(weight.tensor.shape[0])
    assert call.shape is not None
    attributes: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "bias": bias is not None}
    return sketch.add(
        f"conv{axes}d", [whole], (out, *call.shape[2:]), {"weight": weight, "bias": bias}, out=out, **attributes
    )


def _padding(given: Any, kernel: list[int], axes: int) -> list[int]:
    if given == "valid":
        return [0] * axes
    if given != "same":
        return numbers(given, axes)
    if any(size % 2 == 0 for size in kernel):
        raise NoCounterpart(f"padding 'same' for a kernel of {kernel}, which is not the same on both sides")
    return [size // 2 for size in kernel]


# ---- norms -----------------------------------------------------------------------------------------------------------


@mapped("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm")
def _batch_norm(sketch: Sketch, call: Arguments) -> Mapped:
    is_native = call.target.__name__.startswith("_native")
    weight, bias = call.constant(1, "weight"), call.constant(2, "bias")
    mean, variance = call.constant(3, "running_mean"), call.constant(4, "running_var")
    if mean is None or variance is None or (not is_native and call.get(5, "training", False)):
        raise NoCounterpart("normalises by the samples beside it: in evaluation mode it must have running statistics")
    scale = torch.rsqrt(variance.tensor.to(torch.float64) + float(call.get(6 if is_native else 7, "eps", 1e-5)))
    if weight is not None:
        scale = scale * weight.tensor
    shift = -mean.tensor * scale + (0 if bias is None else bias.tensor)
    value = call.value(0, "input")
    made = _folded(sketch, value, scale, shift) if call.is_only_reader else None
    if made is None:
        whole = sketch.whole(value)
        scaled = sketch.add("multiply", [whole], whole.sizes, {"weight": scale}, name=f"{sketch.here}.scale")
        made = sketch.add("add", [scaled], whole.sizes, {"bias": shift}, name=f"{sketch.here}.shift")
    return [made, None, None] if "native" in call.target.__name__ else made


def _folded(sketch: Sketch, value: Value, scale: torch.Tensor, shift: torch.Tensor) -> Value | None:
    """The layer that gives the value, with the norm in its weights; None where it is not one, or shares them."""
    draft = sketch.drafts.get(value.name)
    if draft is None or not value.is_whole or draft.op not in ("linear", "conv1d", "conv2d"):
        return None
    is_last = draft.op == "linear" and len(draft.sizes) > 1  # its units are the last axis, those of a norm the first
    names = list(draft.parameters.values())
    shared = any(set(names) & set(other.parameters.values()) for other in sketch.drafts.values() if other is not draft)
    if is_last or shared:
        return None
    named = draft.parameters["weight"]
    weight = sketch.tensors[named].to(torch.float64)
    bias = sketch.tensors[draft.parameters["bias"]].to(torch.float64) if draft.attributes["bias"] else 0.0
    shifted = bias * scale + shift
    sketch.tensors[named] = (weight * scale.reshape(-1, *(1,) * (weight.dim() - 1))).to(torch.float32)
    if draft.attributes["bias"]:
        sketch.tensors[draft.parameters["bias"]] = shifted.to(torch.float32)
    else:
        draft.attributes["bias"] = True
        sketch.set_parameters(draft, {"bias": Constant(shifted, f"{named.removesuffix('weight').rstrip('.')}.bias")})
    return value


@mapped("layer_norm", "native_layer_norm")
def _layer_norm(sketch: Sketch, call: Arguments) -> Mapped:
    value, normalized = call.value(0, "input"), tuple(call.get(1, "normalized_shape"))
    weight, bias = call.constant(2, "weight"), call.constant(3, "bias")
    made = _normalised(sketch, value, normalized, float(call.get(4, "eps", 1e-5)), weight, bias)
    return [made, None, None] if "native" in call.target.__name__ else made


def _normalised(
    sketch: Sketch, value: Value, normalized: Sizes, eps: float, weight: Constant | None, bias: Constant | None
) -> Value:
    rows, back = rows_first_of(value)
    if rows.shape[1:] == normalized:
        return back(_affine_norm(sketch, sketch.whole(rows), eps, "sample", weight, bias))
    if len(normalized) != 1:
        raise NoCounterpart(f"normalises over {list(normalized)} of {list(value.shape)}: all of a sample, or the last")
    places = rows.shape[1:-1]
    whole = sketch.whole(rows.moved(rows.index.movedim(-1, 1).flatten(2)))  # [N, C, places]
    made = _affine_norm(sketch, whole, eps, "units", weight, bias)
    index = made.index.reshape(NUM_SAMPLES, normalized[0], *places).movedim(1, -1)
    return back(made.moved(index))


def _affine_norm(
    sketch: Sketch, whole: Value, eps: float, over: str, weight: Constant | None, bias: Constant | None
) -> Value:
    """A norm with one scale and shift a unit of the first axis; where the module has others they follow as nodes."""
    attributes: dict[str, Any] = {"eps": eps, **({"over": over} if over != "sample" else {})}
    if weight is not None and weight.tensor.dim() == 1:
        shift = bias if bias is not None else Constant(torch.zeros_like(weight.tensor))
        return sketch.add("layer_norm", [whole], whole.sizes, {"weight": weight, "bias": shift}, **attributes)
    made = sketch.add("layer_norm", [whole], whole.sizes, affine=False, **attributes)
    if weight is not None:
        made = sketch.with_constant("multiply", made, weight)
    return made if bias is None else sketch.with_constant("add", made, bias)
