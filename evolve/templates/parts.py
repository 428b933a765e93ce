"""What templates share: nodes, flat features from channels of any shape, scaled inputs, and a head for every output.

Nouns: none beyond those of `population.graphs.graph`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from evolve.templates.registry import Interface
from population.graphs.nodes import Channel

Width = Annotated[int, Field(ge=1, le=65_536)]
#: Widths of layers one after the other; a single number is one layer.
Widths = Annotated[tuple[Width, ...], BeforeValidator(lambda value: (value,) if isinstance(value, int) else value)]
Nodes = list[dict[str, Any]]
Activation = Literal["relu", "gelu", "tanh"]
#: Digits that a scale fitted to data is kept with: the last bits of a mean differ between machines.
_DIGITS = 6


def node(name: str, op: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    """A node as a graph's plain value has it."""
    return {"name": name, "op": op, "inputs": list(inputs), **attributes}


def channels_of(inputs: Iterable[Channel]) -> dict[str, Any]:
    """The section ``inputs`` of a graph."""
    return {channel.name: {"shape": list(channel.shape), "dtype": channel.dtype} for channel in inputs}


def standardising(interface: Interface) -> dict[str, Nodes]:
    """Filters that bring each float channel to mean 0 and deviation 1 over its training rows, all entries alike.

    None where there are no data, or a channel has a single value.
    """
    filters = {}
    for channel in interface.inputs:
        rows = interface.training_rows(channel.name)
        if rows is None or rows.dtype.kind != "f":
            continue
        mean, deviation = float(np.mean(rows, dtype=np.float64)), float(np.std(rows, dtype=np.float64))
        if 0 < deviation < float("inf"):  # a channel with gaps has no mean
            filters[channel.name] = [
                node(f"{channel.name}.centred", "add", channel.name, value=-_rounded(mean)),
                node(f"{channel.name}.scaled", "multiply", f"{channel.name}.centred", value=_rounded(1 / deviation)),
            ]
    return filters


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def joined(channels: Iterable[Channel], name: str = "joined") -> tuple[Nodes, str]:
    """Nodes that bring channels into one axis, and the name of the result."""
    nodes, flat = [], []
    for channel in channels:
        if len(channel.shape) == 1:
            flat.append(channel.name)
            continue
        nodes.append(node(f"{channel.name}.flat", "flatten", channel.name))
        flat.append(f"{channel.name}.flat")
    if len(flat) == 1:
        return nodes, flat[0]
    return [*nodes, node(name, "concatenate", *flat)], name


def layers(
    reads: str, widths: Iterable[int], activation: Activation, symbol: str = "hidden"
) -> tuple[Nodes, str, dict[str, int]]:
    """Linear layers with their activations: nodes, the name of the last, and a width symbol a layer."""
    nodes, symbols, last = [], {}, reads
    for index, width in enumerate(widths, 1):
        symbols[f"{symbol}{index}"] = width
        nodes.append(node(f"fc{index}", "linear", last, out=f"{symbol}{index}"))
        nodes.append(node(f"act{index}", activation, f"fc{index}"))
        last = f"act{index}"
    return nodes, last, symbols


def heads(reads: str, interface: Interface) -> tuple[Nodes, dict[str, str]]:
    """A linear head for every output channel, its bias a tier's own, and the section ``outputs``.

    An output that tells one number is brought to the scale of its training rows, so that its head begins near them.
    """
    nodes, outputs = [], {}
    for channel, size in interface.outputs.items():
        name = "head" if len(interface.outputs) == 1 else f"head.{channel}"
        nodes.append(node(name, "linear", reads, out=size, per_tier=["bias"]))
        scale = interface.scale_of(channel)
        if scale is not None:
            mean, deviation = scale
            nodes.append(node(f"{name}.scaled", "multiply", name, value=_rounded(deviation)))
            nodes.append(node(f"{name}.shifted", "add", f"{name}.scaled", value=_rounded(mean)))
            name = f"{name}.shifted"
        outputs[channel] = name
    return nodes, outputs


def whole(
    interface: Interface, nodes: Nodes, symbols: dict[str, int], outputs: dict[str, str], filters: dict[str, Nodes]
) -> dict[str, Any]:
    """The graph's plain value."""
    value: dict[str, Any] = {
        "inputs": channels_of(interface.inputs),
        "symbols": symbols,
        "nodes": nodes,
        "outputs": outputs,
    }
    return {**value, "filters": filters} if filters else value
