"""Nodes of a graph in the making, with the sizes that the module has; widths get their symbols afterwards.

Nouns: *draft* (a node to be), *sketch* (all of them, and the tensors they compute with).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from population.errors import InputError
from population.pytorch.translation.arrangement import Constant, Sizes, Value, plan, positions, sizes_after
from population.pytorch.translation.capture import NUM_SAMPLES

_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9_.-]")


class NoCounterpart(InputError):
    """No operation computes this, or not like this; the message says what came and what is there instead."""


@dataclass
class Draft:
    """A node to be.

    Attributes:
        parameters: role -> name in the sketch's tensors. sizes: of a sample of what it gives.
        path: of the module's layer that it stands for.
    """

    name: str
    op: str
    inputs: list[str]
    attributes: dict[str, Any]
    parameters: dict[str, str]
    sizes: Sizes
    path: str = ""


@dataclass
class Sketch:
    """Drafts in order, and what they compute with.

    Attributes:
        taken: names of channels and nodes. here: the name that the next node gets, as the module has it.
        path: of the module's layer that is gone through, where it is one of torch's.
        open_attentions: nodes of attention whose output layer is still to come; until then it changes nothing.
        wanted: the name that a tensor was to have, by the one that was free.
    """

    drafts: dict[str, Draft] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    here: str = ""
    path: str = ""
    open_attentions: set[str] = field(default_factory=set)
    wanted: dict[str, str] = field(default_factory=dict)

    def name(self, wanted: str) -> str:
        """A free name, taken from now on: what is wanted, or that with a number."""
        base = _NOT_OF_NAMES.sub("_", wanted)[:100].lstrip(".-") or "node"
        name, count = base, 1
        while name in self.taken:
            name, count = f"{base}_{count}", count + 1
        self.taken.add(name)
        return name

    def add(
        self,
        op: str,
        inputs: Sequence[Value],
        sizes: Sequence[int],
        constants: Mapping[str, Constant | torch.Tensor | None] | None = None,
        name: str = "",
        **attributes: Any,
    ) -> Value:
        """The value of a new node; its inputs must be whole.

        Args:
            sizes: of a sample of what it gives. constants: its parameters by role; None for one that it does not have.
        """
        assert all(value.is_whole for value in inputs), (op, [value.shape for value in inputs])
        own = self.name(name or self.here or op)
        found = {role: given for role, given in (constants or {}).items() if given is not None}
        names = [value.name for value in inputs]
        self.drafts[own] = Draft(own, op, names, dict(attributes), {}, tuple(sizes), self.path)
        self.set_parameters(self.drafts[own], found)
        return Value.whole(own, sizes, is_vague=any(value.is_vague for value in inputs))

    def set_parameters(self, draft: Draft, constants: Mapping[str, Constant | torch.Tensor]) -> None:
        """Gives a draft parameters by role, in place of those that it had."""
        for role, given in constants.items():
            draft.parameters[role] = self._keep(f"{draft.path or draft.name}.{role}", given)

    def _keep(self, own: str, given: Constant | torch.Tensor) -> str:
        """The name of a parameter: that of the module, which others may share, or its node's own."""
        constant = given if isinstance(given, Constant) else Constant(given)
        tensor = constant.tensor.detach().to(torch.float32)
        name = constant.name or own
        base, count = name, 1
        while name in self.tensors and not (
            self.tensors[name].shape == tensor.shape and torch.equal(self.tensors[name], tensor)
        ):
            name, count = f"{base}_{count}", count + 1
        self.tensors[name] = tensor.clone()
        self.wanted[name] = base
        return name

    def tidy(self, outputs: Sequence[tuple[str, str]]) -> tuple[list[Draft], list[tuple[str, str]]]:
        """The drafts that the outputs need, in order, and the outputs, all under their final names.

        What stands for a layer of the module alone is called as that is; so are tensors whose name has become free.
        """
        needed = {node for _, node in outputs}
        for draft in reversed(self.drafts.values()):
            if draft.name in needed:
                needed |= set(draft.inputs)
        kept = [draft for draft in self.drafts.values() if draft.name in needed]
        layers = [(draft.name, draft.path if draft.parameters else "") for draft in kept]
        nodes = _renamed(layers, self.taken - set(self.drafts))
        used = dict.fromkeys(name for draft in kept for name in draft.parameters.values())
        tensors = _renamed([(name, self.wanted[name]) for name in used], set())
        self.tensors = {tensors[name]: self.tensors[name] for name in used}
        for draft in kept:
            draft.name = nodes[draft.name]
            draft.inputs = [nodes.get(name, name) for name in draft.inputs]
            draft.parameters = {role: tensors[name] for role, name in draft.parameters.items()}
        return kept, [(channel, nodes[node]) for channel, node in outputs]

    def whole(self, value: Value) -> Value:
        """The value brought into its arrangement by nodes, samples first. Raises: NoCounterpart."""
        if value.is_whole:
            return value
        wanted = value.sample
        steps = plan(value.sizes, wanted) if wanted is not None else None
        if steps is None:
            raise NoCounterpart(
                f"{list(value.shape)} repeats, mixes or turns round entries of {[NUM_SAMPLES, *value.sizes]}: only "
                "axes can be split, joined, put into another order and cut"
            )
        now = Value.whole(value.name, value.sizes, is_vague=value.is_vague)
        for op, attributes in steps:
            label = value.label if op == steps[-1][0] and value.label else f"{self.here or 'node'}.{op}"
            now = self.add(op, [now], sizes_after(now.sizes, (op, attributes)), name=label, **attributes)
        return now

    def can_be_whole(self, value: Value) -> bool:
        """Whether nodes can bring the value into its arrangement."""
        wanted = value.sample
        return wanted is not None and plan(value.sizes, wanted) is not None

    def entry_by_entry(self, op: str, value: Value, /, **attributes: Any) -> Value:
        """An operation on each entry by itself: the arrangement stays as it is."""
        if value.order is None:
            value = self.whole(value)
        made = self.add(op, [Value.whole(value.name, value.sizes)], value.sizes, **attributes)
        return Value(made.name, made.sizes, value.index, is_vague=value.is_vague)

    def together(self, op: str, values: Sequence[Value]) -> Value:
        """An operation on equal places of several values, in the frame of the first one that has one of its own."""
        shape = tuple(np.broadcast_shapes(*(value.shape for value in values)))
        for value in values:
            if value.shape != shape:
                raise NoCounterpart(f"{list(value.shape)} would be repeated to {list(shape)}; give both the same shape")
        frame = next((value for value in values if value.order is not None), None)
        if frame is None:
            wholes = [self.whole(value) for value in values]
            return self.add(op, wholes, wholes[0].sizes)
        order = frame.order
        assert order is not None
        wholes = [
            self.whole(value.moved(value.index.reshape(-1)[order].reshape(NUM_SAMPLES, *frame.sizes)))
            for value in values
        ]
        made = self.add(op, wholes, frame.sizes)
        return Value(made.name, made.sizes, frame.index, is_vague=made.is_vague)

    def with_constant(self, op: str, value: Value, constant: Constant) -> Value:
        """``add`` or ``multiply`` with a tensor that no input changes: a number, or one for each unit of some axes."""
        shape = tuple(np.broadcast_shapes(value.shape, tuple(constant.tensor.shape)))
        if shape != value.shape:
            raise NoCounterpart(f"{list(value.shape)} would be repeated to {list(shape)} by a tensor of the module")
        if value.order is None:
            value = self.whole(value)
        order = value.order
        assert order is not None
        spread = constant.tensor.to(torch.float32).expand(shape).reshape(-1)[order].reshape(NUM_SAMPLES, *value.sizes)
        if bool((spread != spread[:1]).any()):
            raise NoCounterpart("a tensor of the module differs from sample to sample")
        one = spread[0]
        if bool((one == one.reshape(-1)[0]).all()):
            return self.entry_by_entry(op, value, value=float(one.reshape(-1)[0]))
        axes = [axis for axis in range(one.dim()) if bool((one != one.narrow(axis, 0, 1)).any())]
        return self._with_units(op, value, one, axes, constant)

    def _with_units(self, op: str, value: Value, one: torch.Tensor, axes: Sequence[int], constant: Constant) -> Value:
        """The same, where the tensor differs along these axes: with them joined and first."""
        if op == "add" and len(axes) == one.dim() == 2:  # a mark for each place of a sequence
            whole = Value.whole(value.name, value.sizes, is_vague=value.is_vague)
            made = self.add("positional_embedding", [whole], value.sizes, {"weight": one})
            return Value(made.name, made.sizes, value.index, is_vague=made.is_vague)
        rest = [axis for axis in range(one.dim()) if axis not in axes]
        frame = positions(NUM_SAMPLES, *value.sizes)
        first = frame.permute(0, *(1 + axis for axis in (*axes, *rest)))
        joined = first.flatten(1, len(axes)) if len(axes) > 1 else first
        units = one.permute(*axes, *rest).flatten(0, len(axes) - 1)
        units = units.reshape(units.shape[0], -1)[:, 0]
        is_own = constant.tensor.numel() == units.numel() and torch.equal(constant.tensor.reshape(-1), units)
        kept = Constant(units, constant.name if is_own else None)
        whole = self.whole(Value(value.name, value.sizes, joined, is_vague=value.is_vague))
        made = self.add(op, [whole], whole.sizes, {"bias" if op == "add" else "weight": kept})
        where = torch.empty_like(frame.reshape(-1))
        where[joined.reshape(-1)] = torch.arange(where.numel())
        return Value(made.name, made.sizes, where[value.index], is_vague=made.is_vague)

    def vague(self, shape: Sequence[int]) -> Value:
        """A stand-in for what could not be mapped, so that the rest can be looked at."""
        name, num = self.name("unknown"), int(torch.Size(shape).numel())
        sizes = tuple(shape[1:]) if shape and shape[0] == NUM_SAMPLES else (max(1, num // NUM_SAMPLES),)
        index = torch.arange(num) % (NUM_SAMPLES * int(torch.Size(sizes).numel()))
        return Value(name, sizes, index.reshape(tuple(shape)), is_vague=True)


def _renamed(pairs: Sequence[tuple[str, str]], others: set[str]) -> dict[str, str]:
    """For each name the one that was wanted, where nobody has it, else the same."""
    taken = {name for name, _ in pairs} | others
    found = {}
    for name, wanted in pairs:
        found[name] = wanted if wanted and wanted not in taken else name
        taken.add(found[name])
    return found
