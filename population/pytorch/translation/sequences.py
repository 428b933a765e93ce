"""Sequences: embeddings, recurrent layers and attention. A block has them units first, a module as it likes.

Shapes: N samples, L places, E units read, H heads, d width of a head.

Nouns: *projection* (the linear layer that makes queries, keys or values, and which of its units are meant).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from population.pytorch.translation.arrangement import Constant, Value
from population.pytorch.translation.drafts import Draft, NoCounterpart, Sketch
from population.pytorch.translation.registry import Arguments, Mapped, mapped


@mapped("embedding")
def _embedding(sketch: Sketch, call: Arguments) -> Mapped:
    weight, ids = call.constant(0, "weight"), call.get(1, "indices")
    assert weight is not None
    if not isinstance(ids, Value):
        raise NoCounterpart("looks up what no input changes")
    if not ids.is_integer:
        raise NoCounterpart("looks up numbers that are computed: ids must come from an input of whole numbers")
    whole = sketch.whole(ids)
    count, units = (int(size) for size in weight.tensor.shape)
    made = sketch.add("embedding", [whole], (units, *whole.sizes), {"weight": weight}, num_embeddings=count, out=units)
    return made.moved(made.index.movedim(1, -1))


# ---- recurrent layers ------------------------------------------------------------------------------------------------


@mapped("gru")
def _gru(sketch: Sketch, call: Arguments) -> Mapped:
    if not isinstance(call.get(6, "train"), bool):
        raise NoCounterpart("packed sequences: give padded ones")
    hidden, weights = call.constant(1, "hx"), call.get(2, "params")
    if hidden is not None and bool(hidden.tensor.any()):
        raise NoCounterpart("begins with a state of its own, where zeros are what there is")
    has_bias, layers, is_both, samples_first = (call.get(place, "") for place in (3, 4, 7, 8))
    value = call.value(0, "input")
    index = value.index if samples_first else value.index.transpose(0, 1)
    whole, is_turned = _places_last(sketch, value.moved(index.transpose(1, 2)))  # [N, E, L]
    num_weights, lasts = (4 if has_bias else 2), []
    path = sketch.here
    for layer in range(layers):
        ways = []
        for way in range(2 if is_both else 1):
            place = (layer * (2 if is_both else 1) + way) * num_weights
            sketch.here = f"{path}.l{layer}{'_reverse' if way else ''}" if layers > 1 or is_both else path
            made = _gru_layer(sketch, whole, weights[place : place + num_weights], is_reverse=bool(way) != is_turned)
            ways.append(made)
            lasts.append(made.moved(made.index[:, :, 0 if bool(way) != is_turned else -1]))
        sketch.here = f"{path}.l{layer}"
        units = sum(made.sizes[0] for made in ways)
        whole = ways[0] if len(ways) == 1 else sketch.add("concatenate", ways, (units, whole.sizes[1]))
    sketch.here = path
    moved = (whole.index.flip(2) if is_turned else whole.index).transpose(1, 2)
    return [whole.moved(moved if samples_first else moved.transpose(0, 1)), _states(sketch, lasts)]


def _places_last(sketch: Sketch, value: Value) -> tuple[Value, bool]:
    """A sequence ``[N, E, L]`` brought about by nodes; whether its places are those of the value from the last on."""
    turned = value.moved(value.index.flip(2))
    is_turned = not sketch.can_be_whole(value) and sketch.can_be_whole(turned)
    return sketch.whole(turned if is_turned else value), is_turned


def _gru_layer(sketch: Sketch, whole: Value, weights: Sequence[Constant], is_reverse: bool) -> Value:
    roles = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    out = int(weights[1].tensor.shape[1])
    attributes: dict[str, Any] = {"out": out, "bias": len(weights) == 4, "reverse": is_reverse}
    return sketch.add("gru", [whole], (out, whole.sizes[1]), dict(zip(roles, weights, strict=False)), **attributes)


def _states(sketch: Sketch, lasts: Sequence[Value]) -> Value:
    """The last states ``[layers * ways, N, units]``."""
    if len(lasts) == 1:
        return lasts[0].moved(lasts[0].index[None])
    wholes = [sketch.whole(last) for last in lasts]
    units = wholes[0].sizes[0]
    made = sketch.add("concatenate", wholes, (units * len(wholes),))
    return made.moved(made.index.reshape(-1, len(wholes), units).transpose(0, 1))


# ---- attention -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Projection:
    """Weights ``[H * d, E]`` and bias ``[H * d]``, units of a head together; ``source``: what they are applied to."""

    source: str
    units_first: Value
    weight: torch.Tensor
    bias: torch.Tensor | None
    draft: Draft


@mapped("scaled_dot_product_attention")
def _attention(sketch: Sketch, call: Arguments) -> Mapped:
    values = [call.value(place, name) for place, name in enumerate(("query", "key", "value"))]
    if any(len(value.shape) != 4 for value in values):
        raise NoCounterpart(f"attention on {list(values[0].shape)}, where [samples, heads, places, width] is expected")
    _, heads, places, width = values[0].shape
    scale = call.named.get("scale")
    if scale is not None and not math.isclose(scale, 1.0 / math.sqrt(width), rel_tol=1e-5):
        raise NoCounterpart(f"attention scaled by {scale}, where one over the root of the width is what there is")
    is_causal = bool(call.get(5, "is_causal", False)) or _is_causal(call.get(3, "attn_mask"), places)
    parts = [_projection(sketch, value) for value in values]
    if len({part.source for part in parts}) > 1:
        raise NoCounterpart("attention to another value than the one that asks (cross-attention)")
    names: dict[str, Any] = {"heads": heads, "head_width": width, "out": heads * width, "causal": is_causal}
    constants = {"in_proj_weight": _joined(parts, "weight"), "out_proj_weight": Constant(torch.eye(heads * width))}
    has_bias = any(part.bias is not None for part in parts)
    if has_bias:
        constants["in_proj_bias"] = _joined(parts, "bias")
        constants["out_proj_bias"] = Constant(torch.zeros(heads * width))
    made = sketch.add(
        "multi_head_attention", [parts[0].units_first], (heads * width, places), constants, bias=has_bias, **names
    )
    sketch.open_attentions.add(made.name)
    return made.moved(made.index.reshape(-1, heads, width, places).transpose(2, 3))  # [N, H, L, d]


def _is_causal(mask: Any, places: int) -> bool:
    """Whether a mask lets each place read up to itself; False where it lets it read all. Raises: NoCounterpart."""
    if mask is None:
        return False
    if not isinstance(mask, Constant):
        raise NoCounterpart("an attention mask that depends on inputs")
    tensor = mask.tensor.expand(1, 1, places, places) if mask.tensor.dim() <= 2 else mask.tensor
    allowed = tensor if tensor.dtype is torch.bool else torch.where(tensor == -torch.inf, -1.0, tensor) == 0
    if not tensor.dtype.is_floating_point or bool((allowed | (tensor == -torch.inf)).all()):
        if bool(allowed.all()):
            return False
        if bool((allowed == torch.ones(places, places, dtype=torch.bool).tril()).all()):
            return True
    raise NoCounterpart("an attention mask other than the causal one")


def _projection(sketch: Sketch, value: Value) -> _Projection:
    """Which linear layer made queries, keys or values, and by which of its units. Raises: NoCounterpart."""
    draft, index = sketch.drafts.get(value.name), value.sample
    is_first = draft is not None and draft.op == "conv1d" and draft.attributes["kernel"] == 1
    if draft is None or index is None or not (is_first or (draft.op == "linear" and len(draft.sizes) == 2)):
        raise NoCounterpart("attention whose queries, keys and values are not made by linear layers")
    places = torch.unravel_index(index, draft.sizes)  # each [H, L, d]
    unit, place = places if is_first else (places[1], places[0])
    if bool((place != torch.arange(index.shape[1])[:, None]).any()) or bool((unit != unit[:, :1]).any()):
        raise NoCounterpart("attention whose heads mix places")
    chosen = unit[:, 0].reshape(-1)
    weight = sketch.tensors[draft.parameters["weight"]].flatten(1)[chosen]
    bias = sketch.tensors[draft.parameters["bias"]][chosen] if draft.attributes["bias"] else None
    reads = draft.inputs[0]
    units, length = int(weight.shape[1]), int(index.shape[1])
    given = Value.whole(reads, (units, length) if is_first else (length, units))
    first = given if is_first else given.moved(given.index.transpose(1, 2))
    return _Projection(reads, sketch.whole(first), weight, bias, draft)


def _joined(parts: Sequence[_Projection], role: str) -> Constant:
    """The tensors of queries, keys and values below each other; under the module's own name where they are one there."""
    tensors = [part.weight if role == "weight" else part.bias for part in parts]
    filled = [torch.zeros(len(part.weight)) if one is None else one for one, part in zip(tensors, parts, strict=True)]
    return Constant(torch.cat(filled))
