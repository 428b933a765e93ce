"""``to_torch``: a block as an ``nn.Module`` that computes with ``torch.nn.functional``, its tensors as parameters.

Shapes: N samples.

Nouns: *path* (where a parameter stands in a module: parts joined by dots).
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import nn

from population.errors import InputError
from population.graphs.nodes import sized_attributes, suggest
from population.operations import Call, get
from population.operations import dimensions as dims
from population.stacks.interpreters import Runnable, plan_of

Outputs = torch.Tensor | dict[str, torch.Tensor]
_NOT_OF_PATHS: Final = re.compile(r"[^A-Za-z0-9_]")


class BlockModule(nn.Module):
    """A block at one tier as a PyTorch module: trainable, in float32, on any device.

    Called with input channels by name, or in alphabetical order, ``[N, *shape]`` each; gives its output ``[N, *shape]``, or
    a dict of them by channel where there are several. Keys of ``state_dict`` are the block's parameter names; what cannot
    be part of a Python name becomes ``_``, and a name that every module has gets a ``_`` behind it.
    """

    def __init__(self, block: Runnable, tier: str) -> None:
        super().__init__()
        self._graph = block.graph_of(tier)
        tensors = block.tensors_of(tier)
        self._paths = parameter_paths(tensors)
        for name, path in self._paths.items():
            add_parameter(self, path, nn.Parameter(tensors[name].detach().to(torch.float32).clone()))
        self._channels = tuple(channel.name for channel in self._graph.inputs)
        self._wanted = tuple(channel for channel, _ in self._graph.outputs)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Outputs:
        """The outputs. Raises: InputError for a channel that is missing or unknown."""
        values = {name: value.to(torch.float32) for name, value in self._given(inputs, named).items()}
        graph = self._graph
        for node, _ in plan_of(graph, self._wanted):
            call = Call(
                tuple(values[name] for name in node.inputs),
                {role: self.get_parameter(self._paths[name]) for role, name in node.parameters.items()},
                sized_attributes(node, graph.symbols),
                dims.sizes(graph.value_shapes[node.name], graph.symbols),
            )
            values[node.name] = get(node.op).run_single(call)
        if len(graph.outputs) == 1:
            return values[graph.outputs[0][1]]
        return {channel: values[node] for channel, node in graph.outputs}

    def _given(self, inputs: tuple[torch.Tensor, ...], named: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if len(inputs) > len(self._channels):
            raise InputError(f"expected inputs {', '.join(self._channels)}, got {len(inputs)} of them")
        given = {**dict(zip(self._channels, inputs, strict=False)), **named}
        for name in given:
            if name not in self._channels:
                raise InputError(f"there is no input channel {name!r}{suggest(name, self._channels)}")
        missing = [name for name in self._channels if name not in given]
        if missing:
            raise InputError(f"input channel {missing[0]!r} is missing")
        return given


def to_torch(block: Runnable, tier: str) -> BlockModule:
    """See ``TensorBlock.to_torch``."""
    return BlockModule(block, tier).train(mode=False)


def parameter_paths(names: Iterable[str]) -> dict[str, str]:
    """Where each parameter stands in a module: its own name, as near as a module allows."""
    paths: dict[str, str] = {}
    parameters: set[str] = set()
    modules: set[str] = set()
    for name in sorted(names):
        parts = [_part(part) for part in name.split(".")]
        if not _is_free(parts, parameters, modules):
            base, count, parts = "_".join(parts), 1, ["_".join(parts)]
            while not _is_free(parts, parameters, modules):
                count, parts = count + 1, [f"{base}_{count}"]
        paths[name] = ".".join(parts)
        parameters.add(paths[name])
        modules |= {".".join(parts[:end]) for end in range(1, len(parts))}
    return paths


def _part(text: str) -> str:
    part = _NOT_OF_PATHS.sub("_", text) or "_"
    is_taken = hasattr(nn.Module, part) or part in ("training", *keyword.kwlist) or part.startswith("_")
    return f"{part}_" if is_taken else part


def _is_free(parts: list[str], parameters: set[str], modules: set[str]) -> bool:
    path = ".".join(parts)
    above = {".".join(parts[:end]) for end in range(1, len(parts))}
    return path not in parameters and path not in modules and not above & parameters


def add_parameter(module: nn.Module, path: str, parameter: nn.Parameter) -> None:
    """Puts a parameter at its path, in plain modules made for the purpose."""
    *parts, last = path.split(".")
    for part in parts:
        if part not in dict(module.named_children()):
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    module.register_parameter(last, parameter)
