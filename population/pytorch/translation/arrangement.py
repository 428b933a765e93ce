"""Values of a module as arrangements of values of ours: which entry stands where, found by moving numbered entries.

A module arranges its values as it likes (samples second, heads beside samples); a block's have the samples apart. So each
value of the module is kept as the value of ours that holds its entries, and the position of every entry in it, with
``NUM_SAMPLES`` samples. Operations that only move entries are applied to the positions.

Nouns: *value* (entries of one of our values, arranged), *constant* (a tensor that no input changes), *plan* (the steps that
bring a value of ours into an arrangement).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from population.pytorch.translation.capture import NUM_SAMPLES

Sizes = tuple[int, ...]
#: An operation that moves entries, with its attributes.
Step = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Constant:
    """A tensor that no input changes; ``name``: what the module calls it, where it is as the module holds it."""

    tensor: torch.Tensor
    name: str | None = None


@dataclass(frozen=True)
class Value:
    """Entries of one of our values, arranged.

    Attributes:
        name: of the channel or node. sizes: of one sample of it.
        index: of each entry its position in that value, ``[NUM_SAMPLES, *sizes]`` counted through; int64.
        label: what arranged it last, for a name. is_integer: whether it is an input of whole numbers.
        is_vague: whether it stands for something that could not be mapped.
    """

    name: str
    sizes: Sizes
    index: torch.Tensor
    label: str = ""
    is_integer: bool = False
    is_vague: bool = False

    @staticmethod
    def whole(name: str, sizes: Sequence[int], **others: Any) -> Value:
        """A value as it is."""
        return Value(name, tuple(sizes), positions(NUM_SAMPLES, *sizes), **others)

    @property
    def shape(self) -> Sizes:
        """The shape that the module sees."""
        return tuple(self.index.shape)

    @property
    def num_entries(self) -> int:
        """How many entries a sample of our value has."""
        return math.prod(self.sizes)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is moved."""
        return self.shape == (NUM_SAMPLES, *self.sizes) and self._is_counted

    @property
    def _is_counted(self) -> bool:
        count = NUM_SAMPLES * self.num_entries
        return self.index.numel() == count and bool((self.index.reshape(-1) == torch.arange(count)).all())

    @property
    def order(self) -> torch.Tensor | None:
        """Where each entry of our value stands in the arrangement, counted through; None unless each stands there once."""
        flat = self.index.reshape(-1)
        if flat.numel() != NUM_SAMPLES * self.num_entries:
            return None
        order = torch.full_like(flat, -1)
        order[flat] = torch.arange(flat.numel())
        return order if bool((order >= 0).all()) else None

    @property
    def sample(self) -> torch.Tensor | None:
        """The positions within one sample, ``[*rest]``, where the first axis is that of the samples; else None."""
        if not self.shape or self.shape[0] != NUM_SAMPLES:
            return None
        first = self.index[0]
        shift = torch.arange(NUM_SAMPLES).reshape(-1, *(1,) * first.dim()) * self.num_entries
        return first if bool((self.index == first + shift).all()) and bool((first < self.num_entries).all()) else None

    def moved(self, index: torch.Tensor, label: str = "") -> Value:
        """The same entries, arranged anew."""
        return replace(self, index=index, label=label or self.label)


def positions(*sizes: int) -> torch.Tensor:
    """Numbers counted through, in this shape."""
    return torch.arange(math.prod(sizes)).reshape(sizes)


def plan(sizes: Sizes, wanted: torch.Tensor) -> list[Step] | None:
    """The steps that bring a value of ours into an arrangement of one sample; None where there are none.

    Args:
        wanted: positions in a sample of these sizes, in the shape that is wanted.
    """
    if wanted.numel() == 0:
        return None
    cut, sizes, wanted = _cut(sizes, wanted)
    if wanted.numel() != math.prod(sizes):
        return None
    turned = _turn(sizes, wanted)
    return None if turned is None else [*cut, *turned]


def _cut(sizes: Sizes, wanted: torch.Tensor) -> tuple[list[Step], Sizes, torch.Tensor]:
    """Steps that leave out what is not wanted, where that is a run along axes; sizes and positions afterwards."""
    places = torch.unravel_index(wanted.reshape(-1), sizes) if sizes else ()
    ranges = [(int(place.min()), int(place.max()) + 1) for place in places]
    steps: list[Step] = []
    kept = list(sizes)
    for axis, (start, stop) in enumerate(ranges):
        if stop - start < sizes[axis]:
            kept[axis] = stop - start
            steps.append(("narrow", {"axis": axis, "start": start, "length": stop - start}))
    if not steps:
        return [], sizes, wanted
    moved, stride = torch.zeros_like(wanted.reshape(-1)), 1
    for place, (start, _), size in zip(reversed(places), reversed(ranges), reversed(kept), strict=True):
        moved += (place - start) * stride
        stride *= size
    return steps, tuple(kept), moved.reshape(wanted.shape)


def _turn(sizes: Sizes, wanted: torch.Tensor) -> list[Step] | None:
    """Steps that bring all entries into an arrangement: split axes, put them into another order, join axes."""
    shape = tuple(wanted.shape)
    if bool((wanted.reshape(-1) == torch.arange(wanted.numel())).all()):
        return _reshaped(sizes, shape)
    fine = tuple(length for axis in range(len(shape)) for length in _runs(_along(wanted, axis)))
    if math.prod(fine) != wanted.numel():
        return None
    turned = _turn_axes(sizes, wanted.reshape(fine))
    return None if turned is None else [*turned, *_reshaped(fine, shape)]


def _along(wanted: torch.Tensor, axis: int) -> list[int]:
    """The positions along one axis, at the first place of all others."""
    index = [slice(None) if place == axis else 0 for place in range(wanted.dim())]
    return [int(position) for position in wanted[tuple(index)]]


def _runs(line: list[int]) -> list[int]:
    """The lengths of the axes that were joined into one, slowest first: runs of equal steps, runs of those, and so on."""
    if len(line) == 1:
        return []
    step, length = line[1] - line[0], 2
    while length < len(line) and line[length] - line[0] == length * step:
        length += 1
    while len(line) % length:
        length -= 1
    return [*_runs(line[::length]), length] if length > 1 else [len(line)]


def _turn_axes(sizes: Sizes, wanted: torch.Tensor) -> list[Step] | None:
    """The same, where no axis is joined of others."""
    shape = tuple(wanted.shape)
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    strides = [int(wanted.select(axis, 1).reshape(-1)[0] - wanted.reshape(-1)[0]) for axis in axes]
    lengths = [shape[axis] for axis in axes]
    if any(stride <= 0 for stride in strides):
        return None
    found = sum(
        torch.arange(length).reshape(-1, *(1,) * (len(axes) - place - 1)) * stride
        for place, (length, stride) in enumerate(zip(lengths, strides, strict=True))
    )
    if not isinstance(found, torch.Tensor) or not bool((found.reshape(-1) == wanted.reshape(-1)).all()):
        return None
    slowest_first = sorted(range(len(axes)), key=lambda place: -strides[place])
    split = tuple(lengths[place] for place in slowest_first)
    order = [slowest_first.index(place) for place in range(len(axes))]
    turned = tuple(lengths)
    return [*_reshaped(sizes, split), ("permute", {"order": order}), *_reshaped(turned, shape)]


def _reshaped(sizes: Sizes, shape: Sizes) -> list[Step]:
    if sizes == shape:
        return []
    return [("flatten", {})] if len(shape) == 1 else [("reshape", {"shape": list(shape)})]


def sizes_after(sizes: Sizes, step: Step) -> Sizes:
    """The sizes of a sample after a step."""
    op, attributes = step
    if op == "narrow":
        axis = attributes["axis"]
        return (*sizes[:axis], attributes["length"], *sizes[axis + 1 :])
    if op == "permute":
        return tuple(sizes[axis] for axis in attributes["order"])
    return tuple(attributes["shape"]) if op == "reshape" else (math.prod(sizes),)
