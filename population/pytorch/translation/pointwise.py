"""Operations entry by entry: activations, sums and products, with what they are made of where there is no single one.

Nouns: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from population.pytorch.translation.arrangement import Constant, Value
from population.pytorch.translation.drafts import NoCounterpart, Sketch
from population.pytorch.translation.registry import Arguments, Mapped, mapped


def _plain(op: str, *named: tuple[str, str, Any]) -> Callable[[Sketch, Arguments], Mapped]:
    """A mapping to one of ours; ``named``: (our attribute, theirs, its default) from the second argument on."""

    def run(sketch: Sketch, call: Arguments) -> Mapped:
        found = {
            ours: float(call.get(place, theirs, default)) for place, (ours, theirs, default) in enumerate(named, 1)
        }
        return sketch.entry_by_entry(op, call.value(0), **found)

    return run


for _name in ("relu", "tanh", "sigmoid", "silu"):
    mapped(_name)(_plain(_name))
mapped("leaky_relu")(_plain("leaky_relu", ("negative_slope", "negative_slope", 0.01)))
mapped("hardtanh")(_plain("hardtanh", ("min_val", "min_val", -1.0), ("max_val", "max_val", 1.0)))


@mapped("relu6")
def _relu6(sketch: Sketch, call: Arguments) -> Mapped:
    return sketch.entry_by_entry("hardtanh", call.value(0), min_val=0.0, max_val=6.0)


@mapped("elu")
def _elu(sketch: Sketch, call: Arguments) -> Mapped:
    if (call.get(2, "scale", 1), call.get(3, "input_scale", 1)) != (1, 1):
        raise NoCounterpart("elu with scales of its own")
    return sketch.entry_by_entry("elu", call.value(0), alpha=float(call.get(1, "alpha", 1.0)))


@mapped("softplus")
def _softplus(sketch: Sketch, call: Arguments) -> Mapped:
    if call.get(1, "beta", 1) != 1:
        raise NoCounterpart(f"softplus with beta {call.get(1, 'beta')}, where 1 is what there is")
    return sketch.entry_by_entry("softplus", call.value(0))


@mapped("clamp", "clip")
def _clamp(sketch: Sketch, call: Arguments) -> Mapped:
    least, most = call.get(1, "min"), call.get(2, "max")
    if least == 0 and most is None:
        return sketch.entry_by_entry("relu", call.value(0))
    if least is None or most is None or isinstance(least, Value | Constant) or isinstance(most, Value | Constant):
        raise NoCounterpart("clamp with one bound only")
    return sketch.entry_by_entry("hardtanh", call.value(0), min_val=float(least), max_val=float(most))


@mapped("gelu")
def _gelu(sketch: Sketch, call: Arguments) -> Mapped:
    value = call.value(0)
    if call.named.get("approximate", "none") == "none":
        return sketch.entry_by_entry("gelu", value)
    cube = _scaled(sketch, sketch.together("multiply", [value, value, value]), 0.044715)
    inner = _scaled(sketch, sketch.together("add", [value, cube]), math.sqrt(2.0 / math.pi))
    half = _scaled(sketch, value, 0.5)
    return sketch.together(
        "add", [half, sketch.together("multiply", [half, sketch.entry_by_entry("tanh", inner)])]
    )  # Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415, sec. 2


@mapped("hardsigmoid")
def _hardsigmoid(sketch: Sketch, call: Arguments) -> Mapped:
    return _hard_gate(sketch, call.value(0))


@mapped("hardswish")
def _hardswish(sketch: Sketch, call: Arguments) -> Mapped:
    value = call.value(0)
    return sketch.together("multiply", [value, _hard_gate(sketch, value)])


def _hard_gate(sketch: Sketch, value: Value) -> Value:
    """relu6(x + 3) / 6."""
    moved = sketch.entry_by_entry("add", value, value=3.0)
    return _scaled(sketch, sketch.entry_by_entry("hardtanh", moved, min_val=0.0, max_val=6.0), 1.0 / 6.0)


@mapped("mish")
def _mish(sketch: Sketch, call: Arguments) -> Mapped:
    value = call.value(0)
    gate = sketch.entry_by_entry("tanh", sketch.entry_by_entry("softplus", value))
    return sketch.together("multiply", [value, gate])


@mapped("log_sigmoid")
def _log_sigmoid(sketch: Sketch, call: Arguments) -> Mapped:
    return _scaled(sketch, sketch.entry_by_entry("softplus", _scaled(sketch, call.value(0), -1.0)), -1.0)


def _scaled(sketch: Sketch, value: Value, factor: float) -> Value:
    return value if factor == 1 else sketch.entry_by_entry("multiply", value, value=factor)


# ---- sums and products -----------------------------------------------------------------------------------------------


def _combined(sketch: Sketch, op: str, one: Any, other: Any) -> Mapped:
    """A sum or product of a value with a value, a tensor of the module or a number."""
    if not isinstance(one, Value):
        one, other = other, one
    if not isinstance(one, Value):
        raise NoCounterpart("neither side depends on inputs")
    if isinstance(other, Value):
        return sketch.together(op, [one, other])
    constant = other if isinstance(other, Constant) else Constant(torch.as_tensor(other, dtype=torch.float32))
    return sketch.with_constant(op, one, constant)


def _times(sketch: Sketch, one: Any, factor: float) -> Any:
    """A value, a tensor of the module or a number, times a number."""
    if isinstance(one, Value):
        return _scaled(sketch, one, factor)
    if isinstance(one, Constant):
        return one if factor == 1 else Constant(one.tensor * factor)
    return one * factor


@mapped("add")
def _add(sketch: Sketch, call: Arguments) -> Mapped:
    return _combined(sketch, "add", call.given[0], _times(sketch, call.given[1], call.get(2, "alpha", 1)))


@mapped("sub", "subtract")
def _sub(sketch: Sketch, call: Arguments) -> Mapped:
    return _combined(sketch, "add", call.given[0], _times(sketch, call.given[1], -call.get(2, "alpha", 1)))


@mapped("rsub")
def _rsub(sketch: Sketch, call: Arguments) -> Mapped:
    return _combined(sketch, "add", call.given[1], _times(sketch, call.given[0], -call.get(2, "alpha", 1)))


@mapped("neg", "negative")
def _neg(sketch: Sketch, call: Arguments) -> Mapped:
    return _scaled(sketch, call.value(0), -1.0)


@mapped("mul", "multiply")
def _mul(sketch: Sketch, call: Arguments) -> Mapped:
    return _combined(sketch, "multiply", call.given[0], call.given[1])


@mapped("div", "divide", "true_divide")
def _div(sketch: Sketch, call: Arguments) -> Mapped:
    other = call.given[1]
    if isinstance(other, Value):
        raise NoCounterpart("divides by what depends on inputs")
    if call.named.get("rounding_mode") is not None:
        raise NoCounterpart("divides and rounds")
    inverse = Constant(1.0 / other.tensor.to(torch.float32)) if isinstance(other, Constant) else 1.0 / other
    return _combined(sketch, "multiply", call.value(0), inverse)


@mapped("square")
def _square(sketch: Sketch, call: Arguments) -> Mapped:
    return sketch.together("multiply", [call.value(0)] * 2)


@mapped("pow")
def _pow(sketch: Sketch, call: Arguments) -> Mapped:
    power = call.get(1, "exponent")
    if power not in (1, 2, 3, 4):
        raise NoCounterpart(f"the power {power}, where 1 to 4 are what there is")
    return call.value(0) if power == 1 else sketch.together("multiply", [call.value(0)] * int(power))
