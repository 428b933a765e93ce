"""Plain PyTorch source of a block: what ``torch.export`` writes down of its module, as a file that needs nothing of ours.

Nouns: *name* (what a value is called in the file), *call* (one line of its forward).
"""

from __future__ import annotations

import keyword
import math
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from blake3 import blake3
from torch.export.graph_signature import InputKind
from torch.nn import functional

from population.pytorch.to_torch import BlockModule
from population.pytorch.translation.capture import needed_calls
from population.pytorch.translation.registry import name_of

_SIGNS: Final[Mapping[Any, str]] = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.floordiv: "//", operator.mod: "%"
}  # fmt: skip
#: Of these the functions in ``torch.nn.functional`` take what the operations take, in the same order.
_FUNCTIONAL: Final = (
    "linear", "gelu", "silu", "softplus", "elu", "leaky_relu", "hardtanh", "avg_pool2d", "scaled_dot_product_attention",
)  # fmt: skip
_TAKEN: Final = ("self", "torch", "functional", "p", "b", "nn")
_IGNORED: Final = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")
_TEMPLATE: Final = '''"""{title}

    from {file} import load

    module = load()  # reads {file}.safetensors beside this file
    {example}

Made by `evolve blocks export`; needs torch and safetensors, and nothing else.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

#: The weights that belong to this file. An export that was cut short keeps them as {file}-WEIGHTS.safetensors.
WEIGHTS = "{weights}"
PARAMETERS = {parameters}
BUFFERS = {buffers}


class Block(nn.Module):
    """{what}"""

    def __init__(self) -> None:
        super().__init__()
        for name, shape in PARAMETERS.items():
            parent, leaf = self._parent_of(name)
            parent.register_parameter(leaf, nn.Parameter(torch.zeros(shape)))
        for name, (shape, dtype) in BUFFERS.items():
            parent, leaf = self._parent_of(name)
            parent.register_buffer(leaf, torch.zeros(shape, dtype=dtype))

    def _parent_of(self, name: str) -> tuple[nn.Module, str]:
        *parts, leaf = name.split(".")
        module: nn.Module = self
        for part in parts:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        return module, leaf

    def forward(self, {arguments}){returns}:
        p, b = self.get_parameter, self.get_buffer
{lines}


def load(weights: str | Path | None = None) -> Block:
    """The module with its weights, in evaluation mode."""
    from safetensors.torch import load_file

    beside = Path(__file__).with_suffix(".safetensors")
    cut_short = beside.with_name(f"{{beside.stem}}-{{WEIGHTS}}.safetensors")
    module = Block()
    module.load_state_dict(load_file(weights or (cut_short if cut_short.exists() else beside)))
    return module.train(mode=False)
'''


def identifier(wanted: str) -> str:
    """What a channel or value is called in Python: its name, as near as can be."""
    base = re.sub(r"\W", "_", wanted, flags=re.ASCII) or "value"
    return f"v{base}" if base[0].isdigit() or keyword.iskeyword(base) or base in _TAKEN else base


def exported(module: BlockModule, inputs: Mapping[str, torch.Tensor]) -> torch.export.ExportedProgram:
    """What a block's module computes, with a free number of samples.

    Args:
        inputs: by channel in alphabetical order, ``[N, *shape]`` with N at least 2.
    """
    free = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    given = tuple(inputs[name][:3] for name in sorted(inputs))
    with torch.no_grad():
        module(
            *(value[:0] for value in given)
        )  # operations make here what they keep; while traced it would be no numbers
    return torch.export.export(module, given, dynamic_shapes={"inputs": free}, strict=False)


@dataclass
class _Writer:
    """What is written while the calls are gone through: expressions of values, and lines."""

    channels: Sequence[str]
    names: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: set(_TAKEN))
    buffers: dict[str, torch.Tensor] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    first: str = ""

    def name(self, wanted: str) -> str:
        """A free name for a value."""
        name, count = (base := identifier(wanted)), 1
        while name in self.taken:
            name, count = f"{base}_{count}", count + 1
        self.taken.add(name)
        return name

    def read(self, program: torch.export.ExportedProgram) -> list[str]:
        """Names what is given; returns the arguments of forward."""
        arguments: list[str] = []
        for spec in program.graph_signature.input_specs:
            place = str(getattr(spec.arg, "name", ""))
            if spec.kind is InputKind.USER_INPUT:
                self.names[place] = self.name(self.channels[len(arguments)])
                arguments.append(self.names[place])
            elif spec.kind is InputKind.PARAMETER:
                self.names[place] = f'p("{spec.target}")'
            else:
                tensor = program.state_dict.get(str(spec.target), program.constants.get(str(spec.target)))
                assert isinstance(tensor, torch.Tensor)
                own = f"constant_{len(self.buffers)}"
                self.buffers[own] = tensor.detach()
                self.names[place] = f'b("{own}")'
        self.first = arguments[0] if arguments else ""
        return arguments

    def write(self, node: torch.fx.Node) -> None:
        """Writes one call."""
        if node.op != "call_function" or name_of(node.target) in _IGNORED:
            return
        if _is_nothing(node):
            self.names[node.name] = self.text(node.args[0])
            return
        text = self._expression(node)
        layer = re.search(r'p\("([^"]+)\.[^".]+"\)', text)
        called = layer[1] if layer else node.name
        self.names[node.name] = self.name(f"layer_{called}" if called[0].isdigit() else called)
        self.lines.append(f"{self.names[node.name]} = {text}")

    def _expression(self, node: torch.fx.Node) -> str:
        args = [self.text(item) for item in node.args]
        named = [
            f"{name}={self.text(item)}" for name, item in node.kwargs.items() if name not in ("layout", "pin_memory")
        ]
        own = name_of(node.target)
        if node.target in _SIGNS:
            return f"({args[0]} {_SIGNS[node.target]} {args[1]})"
        if node.target is operator.getitem:
            return f"{args[0]}[{args[1]}]"
        if own == "sym_size":
            return f"{args[0]}.shape[{args[1]}]"
        both = ", ".join([*args, *named])
        if own in _FUNCTIONAL and hasattr(functional, own):
            return f"functional.{own}({both})"
        if hasattr(torch, own) and not own.startswith("_"):
            return f"torch.{own}({both})"
        if hasattr(torch.Tensor, own) and not own.startswith("_"):
            return f"{args[0]}.{own}({', '.join([*args[1:], *named])})"
        return f"torch.ops.{node.target!s}({both})"

    def text(self, item: Any) -> str:
        """An argument as it is written."""
        if isinstance(item, torch.fx.Node):
            return self.names[item.name]
        if isinstance(item, list | tuple):
            inside = ", ".join(self.text(one) for one in item)
            return f"[{inside}]"
        if isinstance(item, torch.device):
            return f"{self.first}.device" if self.first else repr(item)
        if isinstance(item, float) and not math.isfinite(item):
            return f'float("{item}")'
        return repr(item)


def _is_nothing(node: torch.fx.Node) -> bool:
    """Whether a call gives its first argument as it is."""
    own = name_of(node.target)
    return own in ("detach", "alias") or (own == "slice" and tuple(node.args[2:]) == (0, sys.maxsize))


def source_of(
    program: torch.export.ExportedProgram,
    channels: Sequence[str],
    outputs: Sequence[str],
    file: str,
    title: str,
    save: Callable[[Mapping[str, torch.Tensor]], bytes],
) -> tuple[str, bytes]:
    """The text of a Python file, and the bytes of ``FILE.safetensors``.

    Args:
        program: of a block's module. channels, outputs: of the block, in the order of the module's.
        file: the name that the file will have, without its ending. title: the first line of what it says of itself.
        save: makes the bytes of the tensors.
    """
    writer = _Writer(channels)
    arguments = writer.read(program)
    for node in needed_calls(program):
        writer.write(node)
    (last,) = [node for node in program.graph.nodes if node.op == "output"]
    given = [writer.text(item) for item in last.args[0]]
    pairs = ", ".join(f"{channel!r}: {value}" for channel, value in zip(outputs, given, strict=True))
    answer = given[0] if len(outputs) == 1 else f"{{{pairs}}}"
    parameters = {name: tensor.detach() for name, tensor in program.state_dict.items()}
    data = save({**parameters, **writer.buffers})
    text = _TEMPLATE.format(
        title=title,
        what=f"Takes {', '.join(arguments)}; gives {', '.join(outputs)}. The first axis of each is that of the samples.",
        file=file,
        example=f"outputs = module({', '.join(f'{name}={name}' for name in arguments)})",
        parameters=_literal({name: tuple(tensor.shape) for name, tensor in sorted(parameters.items())}),
        buffers=_literal({name: (tuple(one.shape), one.dtype) for name, one in writer.buffers.items()}),
        weights=mark_of(data),
        arguments=", ".join(f"{name}: torch.Tensor" for name in arguments),
        returns=" -> torch.Tensor" if len(outputs) == 1 else " -> dict[str, torch.Tensor]",
        lines="\n".join(f"        {line}" for line in [*writer.lines, f"return {answer}"]),
    )
    return text, data


def mark_of(weights: bytes) -> str:
    """What a Python file calls the weights that belong to it."""
    return blake3(weights).hexdigest()[:16]


def _literal(value: Mapping[str, Any]) -> str:
    if not value:
        return "{}"
    return "{\n" + "".join(f'    "{name}": {item!r},\n' for name, item in value.items()) + "}"
