"""What an operation promises, and where operations are found by name.

Adding one is a file with a ``register`` call, here or in a package that names its module under the entry-point group
``evolve.operations``; such packages are loaded when a name is asked for that is not known yet.

Nouns: *operation* (a kind of node, named as in ``torch.nn.functional``), *call* (the tensors one node computes with).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from population.lazy_torch import torch
from population.operations.attributes import Attribute, AttributeKind
from population.operations.dimensions import Dim, Shape
from population.registry import Registry

ENTRY_POINTS: Final = "evolve.operations"
_OURS: Final = "population.operations."
Attributes = Mapping[str, Attribute]
Sizes = tuple[int, ...]
Axis = Literal["out", "in", "unit", ""]


@dataclass(frozen=True)
class ParameterSpec:
    """What a parameter is.

    Attributes:
        shape: its dimensions. dtype: what a stack computes it in.
        fan_in: how many inputs each output of its node sums over. role: "weight", "bias" or "scale" (1 at first).
        per_tier: whether every tier has its own tensor of it.
        axes: what each dimension counts: units that the node makes ("out"), units that it reads ("in"), units that pass
            through ("unit"), or none ("").
    """

    shape: Shape
    dtype: str = "float32"
    fan_in: Dim = ((None, 1),)
    role: Literal["weight", "bias", "scale"] = "weight"
    per_tier: bool = False
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class Inferred:
    """What a node gives: the shape of its value, and the parameters it needs by role."""

    shape: Shape
    parameters: Mapping[str, ParameterSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """What ``run`` is given.

    Shapes: P candidates, N samples. Values are ``[P, *shape, N]``; one that all candidates share is ``[1, *shape, N]``.
    In ``run_single`` values are ``[N, *shape]`` and parameters have no leading axis.

    Attributes:
        parameters: by role, ``[P, *shape]``.
        attributes: with their defaults; inner dimensions as sizes at the widest.
        sizes: of the value the node gives, ``*shape``.
        masks: for each input which entries are live, bool, broadcastable to it, or None where all are.
        live: the live size of each inner dimension in each row, int64 ``[P]``; empty where all rows are at the widest.
    """

    inputs: tuple[torch.Tensor, ...]
    parameters: Mapping[str, torch.Tensor]
    attributes: Attributes
    sizes: Sizes = ()
    masks: tuple[torch.Tensor | None, ...] = ()
    live: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One kind of node.

    Obligations: pure functions; ``run`` and ``run_single`` agree to 1e-5; a row of ``run`` depends, to the bit, on that row
    alone, whatever its slot and the number of rows; ``run`` is differentiable; ``infer`` reads shapes only.

    Attributes:
        name, version: as graphs name it; from version 2 on a graph writes ``name@version``.
        infer: (shapes of the inputs, attributes) -> Inferred; raises InvalidGraph.
        flops: (sizes of the inputs, sizes of the value, attributes with inner dimensions as sizes) -> FLOPs a sample;
            multiply and add are two.
        run: on the layout of stacks. run_single: on the ordinary layout, by ``torch.nn.functional``.
        attributes: the kinds of attributes it knows.
        num_inputs: least and most inputs; None: no upper bound.
        keeps_zero: whether dead entries, which are zero, stay zero; where not, they are cleared afterwards.
        orders_units: whether units are treated by their place in the first axis, so that they must not change places.
        is_plugin: whether it comes from another package.
        takes_nan: whether NaN in its input stands for a missing number, which it answers with a number.
    """

    name: str
    infer: Callable[[Sequence[Shape], Attributes], Inferred]
    flops: Callable[[Sequence[Sizes], Sizes, Attributes], int]
    run: Callable[[Call], torch.Tensor]
    run_single: Callable[[Call], torch.Tensor]
    attributes: Mapping[str, AttributeKind] = field(default_factory=dict)
    num_inputs: tuple[int, int | None] = (1, 1)
    version: int = 1
    keeps_zero: bool = False
    orders_units: bool = False
    is_plugin: bool = False
    takes_nan: bool = False

    @property
    def key(self) -> str:
        """The name that graphs use."""
        return self.name if self.version == 1 else f"{self.name}@{self.version}"

    @property
    def module(self) -> str:
        """The module of its functions: another package's, where one of them comes from there."""
        modules = (self.run.__module__, self.run_single.__module__)
        return next((module for module in modules if not module.startswith(_OURS)), modules[0])


_operations: Registry[Operation] = Registry("operation", ENTRY_POINTS)


def register(operation: Operation) -> Operation:
    """Adds an operation and returns it; one that computes by a function outside this package is marked as a plugin.

    Raises: ValueError where another operation has its name and version.
    """
    if not operation.module.startswith(_OURS):
        operation = replace(operation, is_plugin=True)
    return _operations.add(operation.key, operation)


def get(name: str) -> Operation:
    """The operation of this name; packages that offer operations are loaded before giving up.

    Raises: NotFound that suggests the nearest name.
    """
    return _operations.get(name)


def names() -> tuple[str, ...]:
    """The names of the operations registered so far, sorted."""
    return _operations.names()
