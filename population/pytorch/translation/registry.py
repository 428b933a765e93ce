"""Which ATen operation becomes what: functions by name, and how one is told what it is given.

A mapping is ``(sketch, arguments) -> value``; it raises ``NoCounterpart`` where an argument is not covered.

Nouns: *mapping*, *arguments* (of one call: values, constants, numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from population.operations import names
from population.pytorch.translation.arrangement import Constant, Value
from population.pytorch.translation.drafts import NoCounterpart, Sketch
from population.registry import nearest as nearest_name

Mapped = Any  # a value, a constant, a number, or a sequence of them


@dataclass(frozen=True)
class Arguments:
    """What an operation is called with; ``target``: itself. ``shape``: of what it gives, None for several.

    ``is_only_reader``: whether nothing else reads the first argument.
    """

    target: Any
    given: Sequence[Any]
    named: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    is_only_reader: bool = False

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or name."""
        return self.given[place] if place < len(self.given) else self.named.get(name, default)

    def value(self, place: int, name: str = "self") -> Value:
        """An argument that inputs change. Raises: NoCounterpart."""
        found = self.get(place, name)
        if not isinstance(found, Value):
            raise NoCounterpart(f"{name} is a tensor of the module, where one that depends on inputs is expected")
        return found

    def constant(self, place: int, name: str) -> Constant | None:
        """An argument that no input changes, or None where it is not given. Raises: NoCounterpart."""
        found = self.get(place, name)
        if isinstance(found, Value):
            raise NoCounterpart(f"{name} depends on inputs, where a tensor of the module is expected")
        return found if found is None or isinstance(found, Constant) else Constant(torch.as_tensor(found))


Mapping_ = Callable[[Sketch, Arguments], Mapped]
_mappings: dict[str, Mapping_] = {}

#: What people call things that have no counterpart, and what comes nearest.
_NEAREST: Mapping[str, str] = {
    "lstm": "gru", "rnn_tanh": "gru", "rnn_relu": "gru", "conv3d": "conv2d", "conv_transpose1d": "conv1d",
    "conv_transpose2d": "conv2d", "group_norm": "layer_norm", "instance_norm": "layer_norm", "rms_norm": "layer_norm",
    "bmm": "multi_head_attention", "baddbmm": "multi_head_attention", "einsum": "linear", "bilinear": "linear",
    "upsample_nearest2d": "reshape", "upsample_bilinear2d": "reshape", "max_pool3d": "max_pool2d",
    "avg_pool3d": "avg_pool2d", "embedding_bag": "embedding", "logsumexp": "log_softmax", "abs": "relu",
    "exp": "softplus", "log": "log_softmax", "sqrt": "layer_norm", "erf": "gelu", "prelu": "leaky_relu",
    "rrelu": "leaky_relu", "celu": "elu", "selu": "elu", "softsign": "tanh", "cumsum": "gru", "index": "narrow",
    "gather": "narrow", "index_select": "narrow", "constant_pad_nd": "conv2d (padding)", "pad": "conv2d (padding)",
    "std": "layer_norm", "var": "layer_norm", "linalg_vector_norm": "layer_norm", "where": "relu",
}  # fmt: skip


def mapped(*targets: str) -> Callable[[Mapping_], Mapping_]:
    """Registers a mapping for ATen operations by name, without overload and without the mark of those in place."""

    def add(function: Mapping_) -> Mapping_:
        for target in targets:
            assert target not in _mappings, target
            _mappings[target] = function
        return function

    return add


def mapping_of(target: Any) -> Mapping_ | None:
    """The mapping of an operation, or None."""
    return _mappings.get(name_of(target))


def name_of(target: Any) -> str:
    """The name of an ATen operation without overload and the mark of those in place; of a function its own."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return str(getattr(target, "__name__", target))
    name = str(schema.name).rpartition("::")[2]
    return name if name.startswith("_") else name.rstrip("_")


def nearest(name: str) -> str:
    """What a person may use instead of an operation that has no counterpart."""
    bare = name.lstrip("_")
    found = _NEAREST.get(bare) or nearest_name(bare, names())
    return f"the nearest is {found}" if found else "and none that comes near"
