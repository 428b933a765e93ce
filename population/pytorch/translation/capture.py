"""What a PyTorch module computes, as ``torch.export`` writes it down: calls of ATen operations on named tensors.

Source: `torch.export <https://docs.pytorch.org/docs/stable/export.html>`_, the graph before decomposition, with a free
number of samples.

Nouns: *captured* (the calls, the constants they read, the inputs and outputs), *example* (inputs of a few samples).
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import tree_flatten, tree_unflatten

from population.errors import InputError

#: Samples that a module is captured with: more than one, so that the number stays free, and unlike most sizes.
NUM_SAMPLES: Final = 3
Example = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]
_FLOATS: Final = (torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Captured:
    """What a module computes.

    Attributes:
        nodes: calls, in order. constants: parameters, buffers and others by the name of their placeholder.
        names: the module's own name of each constant, and the channel of each other placeholder.
        inputs: example by channel, ``[NUM_SAMPLES, *shape]``.
        outputs: (channel, the node that gives it); None for what is no tensor. answers: what it gives on the inputs.
    """

    nodes: tuple[torch.fx.Node, ...]
    constants: Mapping[str, torch.Tensor]
    names: Mapping[str, str]
    inputs: Mapping[str, torch.Tensor]
    outputs: tuple[tuple[str, torch.fx.Node | None], ...]
    answers: tuple[Any, ...]


class _ByName(torch.nn.Module):
    """A module that takes arguments by any name, as one that takes them by place: torch.export frees axes of those only."""

    def __init__(self, module: torch.nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module, self.names = module, tuple(names)

    def forward(self, *given: torch.Tensor) -> Any:
        """What the module gives."""
        return self.module(**dict(zip(self.names, given, strict=True)))


def capture(module: torch.nn.Module, example: Example) -> Captured:
    """The calls that a module makes in evaluation mode, computed in float32; the module is not changed.

    Raises:
        InputError: the example has no samples, or ``torch.export`` cannot capture the module, and why.
    """
    prepared = copy.deepcopy(module).to(device="cpu", dtype=torch.float32).train(mode=False)
    args, kwargs = arguments_of(example)
    inputs = [*args, *kwargs.values()]
    if not inputs or any(value.dim() == 0 or len(value) == 0 for value in inputs):
        raise InputError("example: expected one tensor or several, each with at least one sample in its first axis")
    args, kwargs = tuple(map(_few, args)), {name: _few(value) for name, value in kwargs.items()}
    named = tuple(kwargs) if _takes_any_name(prepared) and not args else ()
    if named:
        prepared, args, kwargs = _ByName(prepared, named), tuple(kwargs.values()), {}
    shapes = _free_samples(prepared, args, kwargs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about attributes that a module sets while it is traced
            with torch.no_grad():
                answers = tree_flatten(prepared(*args, **kwargs))[0]
            program = torch.export.export(prepared, args, kwargs, dynamic_shapes=shapes, strict=False)
    except (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, LookupError) as error:
        raise InputError(
            f"torch.export cannot capture {type(module).__name__}: {_first_lines(error)}; its forward must be free of "
            "branches that depend on values, and must take any number of samples"
        ) from error
    return _read(program, [*args, *kwargs.values()], tuple(answers), named)


def _takes_any_name(module: torch.nn.Module) -> bool:
    parameters = inspect.signature(module.forward).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _free_samples(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """For each argument of forward that its first axis is free. Raises: InputError where it does not take them."""
    free = {0: torch.export.Dim.DYNAMIC}
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"example: forward of {type(module).__name__} cannot be called so: {error}") from error
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    found: dict[str, Any] = {}
    for name, given in bound.arguments.items():
        if kinds[name] is inspect.Parameter.VAR_POSITIONAL:
            found[name] = tuple(free for _ in given)
        else:
            found[name] = free
    return found


def arguments_of(example: Example) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """The positional and the named arguments of an example. Raises: InputError for what is no tensor."""
    if isinstance(example, torch.Tensor):
        return (example,), {}
    named = dict(example) if isinstance(example, Mapping) else {}
    args = () if isinstance(example, Mapping) else tuple(example)
    for value in (*args, *named.values()):
        if not isinstance(value, torch.Tensor):
            raise InputError(f"example: expected a tensor, several, or a mapping of them, got {type(value).__name__}")
    return args, named


def _few(value: torch.Tensor) -> torch.Tensor:
    """So many samples as are captured, as the interpreters take them: no floats but float32."""
    chosen = value.detach().cpu()[torch.arange(NUM_SAMPLES) % len(value)]
    return chosen.to(torch.float32) if chosen.dtype in _FLOATS else chosen


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])[:400]}"


def _read(
    program: torch.export.ExportedProgram, given: Sequence[torch.Tensor], answers: tuple[Any, ...], named: Sequence[str]
) -> Captured:
    constants: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    inputs: dict[str, torch.Tensor] = {}
    first: dict[tuple[Any, ...], str] = {}
    prefix = "module." if named else ""
    for spec in program.graph_signature.input_specs:
        place = str(getattr(spec.arg, "name", ""))
        if spec.kind is InputKind.USER_INPUT:
            names[place] = named[len(inputs)] if named else place
            inputs[names[place]] = given[len(inputs)]
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR) and spec.target:
            tensor = program.state_dict.get(spec.target, program.constants.get(spec.target))
            if not isinstance(tensor, torch.Tensor):
                raise InputError(f"the module holds {spec.target!r}, which is no tensor")
            constants[place] = tensor.detach()
            names[place] = first.setdefault(_memory_of(tensor), spec.target.removeprefix(prefix))
        else:
            raise InputError(f"the module holds {spec.target or place!r}, which is no tensor")
    return Captured(tuple(needed_calls(program)), constants, names, inputs, tuple(_outputs(program)), answers)


def needed_calls(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    """What the outputs need, in order: placeholders and calls."""
    wanted: set[torch.fx.Node] = set()
    for node in reversed(program.graph.nodes):
        if node.op == "output" or node in wanted:
            wanted |= set(node.all_input_nodes)
    return [node for node in program.graph.nodes if node in wanted]


def _memory_of(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What two names of one parameter have in common."""
    storage = tensor.untyped_storage().data_ptr()
    return (storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride()) if storage else (id(tensor),)


def _outputs(program: torch.export.ExportedProgram) -> Iterator[tuple[str, torch.fx.Node | None]]:
    for spec in program.graph_signature.output_specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise InputError(f"the module changes {spec.target!r} while it computes: what it gives must be all it does")
    (last,) = [node for node in program.graph.nodes if node.op == "output"]
    given = list(last.args[0])
    spec = program.call_spec.out_spec
    paths = list(_paths(tree_unflatten(range(len(given)), spec))) if spec is not None else []
    for path, place in paths:
        node = given[place]
        yield ".".join(path) or "output", node if isinstance(node, torch.fx.Node) else None


def _paths(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yields where each leaf lies: keys of mappings as they are, places of sequences as ``output_0``."""
    if isinstance(tree, int):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, item in tree.items():
            yield from _paths(item, (*path, str(key)))
    elif isinstance(tree, list | tuple):
        for place, item in enumerate(tree):
            step = f"output_{place}" if not path else str(place)
            yield from _paths(item, (*path, step))
    else:
        raise InputError(f"the module gives a {type(tree).__name__}: expected tensors, sequences or mappings of them")
