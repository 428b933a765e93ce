"""``translate``: a PyTorch module as op graph and tensors.

The calls that ``torch.export`` writes down are gone through in order; each is handed to the mapping of its name. What has
none is told at the end, all of it at once. Then widths get their symbols, and the block is compared with the module.

Nouns: *missing* (a call that has no counterpart, and why).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch.fx.node import map_aggregate

from population.errors import InputError
from population.graphs.graph import OpGraph
from population.graphs.nodes import Channel
from population.pytorch.translation import layers, pointwise, reductions, reshaping, sequences
from population.pytorch.translation.arrangement import Constant, Value
from population.pytorch.translation.capture import Captured, Example, capture
from population.pytorch.translation.drafts import NoCounterpart, Sketch
from population.pytorch.translation.registry import Arguments, mapping_of, name_of, nearest
from population.pytorch.translation.widths import block_graph
from population.stacks.interpreters import Runnable, run_block

#: How far a block may lie from its module, in units of the module's largest number (at least 1).
TOLERANCE: Final = 1e-4
_GROUPS = (layers, pointwise, reductions, reshaping, sequences)
_IGNORED = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")


class UnsupportedModule(InputError):
    """A module computes what no operation does. ``missing``: (where, what, why and what comes nearest), all of it."""

    def __init__(self, module: str, missing: Sequence[tuple[str, str, str]]) -> None:
        self.missing = tuple(missing)
        lines = "".join(f"\n  {what} at {where}: {why}" for where, what, why in missing)
        super().__init__(f"{module}: {len(missing)} calls have no counterpart among the operations of blocks:{lines}")


@dataclass(frozen=True)
class Translation:
    """What a module became. ``captured``: its calls, and its answers on the example."""

    graph: OpGraph
    tensors: Mapping[str, torch.Tensor]
    captured: Captured

    def check(self, block: Runnable) -> None:
        """Refuses a block of these that does not give what the module gives on the example. Raises: InputError."""
        _compare(self.captured, block)


def translate(module: torch.nn.Module, example: Example, outputs: Sequence[str] | None = None) -> Translation:
    """Says a module in operations of blocks; ``TensorBlock.from_torch`` makes the block, and says what is raised."""
    captured = capture(module, example)
    sketch, found = _walk(type(module).__name__, captured)
    channels = [
        Channel(name, tuple(value.shape[1:]), str(value.dtype).removeprefix("torch."))
        for name, value in captured.inputs.items()
    ]
    drafts, named = sketch.tidy(_named(found, outputs))
    graph = block_graph(channels, drafts, named)
    return Translation(graph, {name: sketch.tensors[name].contiguous() for name in graph.parameters}, captured)


def _walk(module: str, captured: Captured) -> tuple[Sketch, list[tuple[str, str]]]:
    """The drafts of all calls, and the node of each output. Raises: UnsupportedModule, with all that is missing."""
    walk = _Walk(Sketch(taken=set(captured.inputs)), captured, _containers(captured.nodes))
    for node in captured.nodes:
        walk.visit(node)
    outputs = []
    for channel, given in captured.outputs:
        value = walk.found.get(given) if given is not None else None
        try:
            outputs.append((channel, walk.output(channel, value)))
        except NoCounterpart as error:
            walk.missing.append((f"output {channel}", "what it gives", str(error)))
    if walk.missing:
        raise UnsupportedModule(module, walk.missing)
    return walk.sketch, outputs


@dataclass
class _Walk:
    """What is known while the calls are gone through."""

    sketch: Sketch
    captured: Captured
    containers: set[str]
    found: dict[torch.fx.Node, Any] = field(default_factory=dict)
    missing: list[tuple[str, str, str]] = field(default_factory=list)

    def visit(self, node: torch.fx.Node) -> None:
        """Maps one call."""
        if node.op == "placeholder":
            self.found[node] = self._placeholder(node.name)
        elif node.op == "call_function" and name_of(node.target) not in _IGNORED:
            self.sketch.path = _layer(node, self.containers)
            self.sketch.here = _name_here(node, self.sketch)
            self.found[node] = self._call(node)
        elif node.op not in ("call_function", "output"):
            self.missing.append((node.name, str(node.target), "is no call of an operation"))

    def output(self, channel: str, value: Any) -> str:
        """The node of an output. Raises: NoCounterpart."""
        if not isinstance(value, Value):
            raise NoCounterpart("depends on no input")
        if value.is_vague:
            return value.name
        self.sketch.here, self.sketch.path = channel, ""
        whole = self.sketch.whole(value)
        if whole.name not in self.sketch.drafts:  # a channel, handed on as it is
            whole = self.sketch.add("multiply", [whole], whole.sizes, value=1.0)
        return whole.name

    def _placeholder(self, name: str) -> Value | Constant:
        if name in self.captured.constants:
            return Constant(self.captured.constants[name], self.captured.names[name])
        channel = self.captured.names[name]
        example = self.captured.inputs[channel]
        return Value.whole(channel, tuple(example.shape[1:]), is_integer=not example.is_floating_point())

    def _call(self, node: torch.fx.Node) -> Any:
        given, named = self._resolve(node.args), self._resolve(node.kwargs)
        if node.target is operator.getitem:
            return given[0] if isinstance(given[0], Value) and given[0].is_vague else given[0][given[1]]
        values = list(_values_in((given, named)))
        if not values:
            return self._computed(node.target, given, named)
        mapping = mapping_of(node.target)
        name = name_of(node.target)
        try:
            if mapping is None:
                raise NoCounterpart(f"there is no such operation, {nearest(name)}")
            call = Arguments(node.target, given, named, self._shape(node), self._is_only_reader(node, given))
            made = mapping(self.sketch, call)
        except NoCounterpart as error:
            if mapping is None or not any(value.is_vague for value in values):
                self.missing.append((_place(node), name, str(error)))
            return self._vague(node)
        if str(getattr(node.target, "_schema", "")).partition("(")[0].partition(".")[0].endswith("_"):
            self.found[node.args[0]] = made  # type: ignore[index]  # in place: later readers see what it became
        return made

    def _resolve(self, item: Any) -> Any:
        return _each(item, lambda one: self.found[one] if isinstance(one, torch.fx.Node) else one)

    def _computed(self, target: Any, given: Any, named: Any) -> Any:
        """What an operation gives that reads nothing that inputs change."""
        args, kwargs = _each(given, _bare), _each(named, _bare)
        return _each(target(*args, **kwargs), lambda one: Constant(one) if isinstance(one, torch.Tensor) else one)

    def _shape(self, node: torch.fx.Node) -> tuple[int, ...] | None:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return None
        return tuple(map(_hint, value.shape))

    def _is_only_reader(self, node: torch.fx.Node, given: Sequence[Any]) -> bool:
        """Whether nothing but this call reads what its first argument is made of."""
        first = given[0] if given else None
        if not isinstance(first, Value):
            return False
        same = [one for one, value in self.found.items() if isinstance(value, Value) and value.name == first.name]
        return all(len(one.users) <= 1 for one in same)

    def _vague(self, node: torch.fx.Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, list | tuple):
            shapes = [tuple(map(_hint, one.shape)) for one in value if isinstance(one, torch.Tensor)]
            return [self.sketch.vague(shape) for shape in shapes]
        return self.sketch.vague(self._shape(node) or (3, 1))


def _each(item: Any, change: Callable[[Any], Any]) -> Any:
    """The same sequences and mappings, with what they hold changed."""
    return map_aggregate(item, change)


def _values_in(item: Any) -> list[Value]:
    if isinstance(item, Mapping):
        return _values_in(list(item.values()))
    if isinstance(item, list | tuple):
        return [value for one in item for value in _values_in(one)]
    return [item] if isinstance(item, Value) else []


def _bare(item: Any) -> Any:
    return item.tensor if isinstance(item, Constant) else item


def _hint(size: Any) -> int:
    """A size, the number of samples as it is captured."""
    return size if isinstance(size, int) else int(size.node.hint)


def _place(node: torch.fx.Node) -> str:
    """Where a call stands: the path of its module, and its name."""
    path = _path(node)
    return f"{path} ({node.name})" if path else node.name


def _path(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values() if not str(path).startswith("_empty")]
    return paths[-1].partition("@")[0] if paths else ""


def _layer(node: torch.fx.Node, containers: set[str]) -> str:
    """The path of the layer of torch's own that a call belongs to, one without others inside; or nothing."""
    stack, path = list((node.meta.get("nn_module_stack") or {}).values()), _path(node)
    return path if stack and "torch.nn.modules" in str(stack[-1][1]) and path not in containers else ""


def _containers(nodes: Sequence[torch.fx.Node]) -> set[str]:
    """The paths of modules in which others are called."""
    parts = [path.split(".") for path in {_path(node) for node in nodes} if path]
    return {".".join(each[:end]) for each in parts for end in range(1, len(each))}


def _name_here(node: torch.fx.Node, sketch: Sketch) -> str:
    """What the nodes of a call are called: as the layer that it stands for, else by its own name below its module's."""
    if sketch.path and sketch.path not in sketch.taken:
        return sketch.path
    path = _path(node)
    return f"{path}.{node.name}" if path else node.name


def _named(found: Sequence[tuple[str, str]], outputs: Sequence[str] | None) -> list[tuple[str, str]]:
    if outputs is None:
        return list(found)
    if len(outputs) != len(found):
        raise InputError(f"outputs: expected {len(found)} names, for {[name for name, _ in found]}, got {len(outputs)}")
    return [(name, node) for name, (_, node) in zip(outputs, found, strict=True)]


def _compare(captured: Captured, block: Runnable) -> None:
    """Refuses a block that does not give what its module gives on the example. Raises: InputError."""
    with torch.no_grad():
        found = run_block(block, captured.inputs)
    for (channel, value), answer in zip(found.items(), captured.answers, strict=True):
        largest = float((value - answer).abs().max()) if value.shape == answer.shape else math.inf
        if not largest <= TOLERANCE * max(1.0, float(answer.abs().max())):
            raise InputError(
                f"output {channel!r} of the block differs from the module's by {largest:.2g} on the example: the module "
                "gives something else each time, or changes a value in place that it reads again"
            )
