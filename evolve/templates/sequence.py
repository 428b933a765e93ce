"""``sequence``: a classifier of sequences, by attention and a recurrent state.

Sequences are ``[units, places]``, or tokens ``[places]`` of whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from evolve.operators.registry import Settings
from evolve.templates.parts import Nodes, Width, heads, node, standardising, whole
from evolve.templates.registry import Interface, Template, register
from population.errors import ConfigError
from population.graphs.nodes import Channel


class SequenceSettings(Settings):
    """Attributes:
    units, state: widest widths of what each place holds, and of the recurrent state. layers: of attention, each with its
        residual; heads, head_width: of attention. ends: the last state of a GRU, or the mean over the places.
    vocabulary: how many tokens there are, 0 included; as the data have it by default. padding: the token that does not
        count; None where all do.
    """

    units: Width = 16
    state: Width = 24
    layers: Annotated[int, Field(ge=0, le=64)] = 1
    heads: Annotated[int, Field(ge=1, le=1024)] = 2
    head_width: Width = 8
    ends: Literal["gru", "mean"] = "gru"
    vocabulary: Annotated[int, Field(ge=1, le=2**20)] | None = None
    padding: Annotated[int, Field(ge=0)] | None = 0
    standardise: bool = True


def build(interface: Interface, settings: SequenceSettings) -> Mapping[str, Any]:
    """Returns the graph: tokens embedded, or units brought to their width; marks of places; attention; an end; heads."""
    if len(interface.inputs) != 1 or len(interface.inputs[0].shape) not in (1, 2):
        found = ", ".join(f"{channel.name} {list(channel.shape)}" for channel in interface.inputs)
        raise ConfigError(
            f"graph.template: sequence reads one channel, tokens [places] or [units, places], but the inputs are {found}: "
            "name one in graph.inputs"
        )
    (channel,) = interface.inputs
    nodes, mask = _first(channel, interface, settings)
    nodes.append(node("placed", "positional_encoding", "embed", width=2 * ((settings.units + 1) // 2)))
    last = "placed"
    for index in range(1, settings.layers + 1):
        nodes += _attention(f"layer{index}", last, mask, settings)
        last = f"layer{index}"
    if settings.ends == "gru":
        nodes.append(node("state", "gru", last, *mask, out="state", returns="last"))
    else:
        nodes += [
            node("wide", "conv1d", last, out="state", kernel=1),
            node("act", "gelu", "wide"),
            node("state", "masked_mean", "act", *mask),
        ]
    ends, outputs = heads("state", interface)
    symbols = {"units": settings.units, "state": settings.state}
    filters = standardising(interface) if settings.standardise else {}
    return whole(interface, [*nodes, *ends], symbols, outputs, filters)


def _first(channel: Channel, interface: Interface, settings: SequenceSettings) -> tuple[Nodes, list[str]]:
    """Nodes up to ``embed``, and the mask's name where tokens have padding."""
    if len(channel.shape) == 2:
        return [node("embed", "conv1d", channel.name, out="units", kernel=1)], []
    embed = node(
        "embed", "embedding", channel.name, num_embeddings=_vocabulary(channel, interface, settings), out="units"
    )
    if settings.padding is None:
        return [embed], []
    return [node("mask", "not_equal", channel.name, value=settings.padding), embed], ["mask"]


def _attention(name: str, reads: str, mask: list[str], settings: SequenceSettings) -> Nodes:
    """One layer of attention, normalised before and added after, as in Xiong et al. 2020, https://arxiv.org/abs/2002.04745."""
    return [
        node(f"{name}.norm", "layer_norm", reads, over="units"),
        node(
            f"{name}.mixed",
            "multi_head_attention",
            f"{name}.norm",
            *mask,
            out="units",
            heads=settings.heads,
            head_width=settings.head_width,
        ),
        node(name, "add", reads, f"{name}.mixed"),
    ]


def _vocabulary(channel: Channel, interface: Interface, settings: SequenceSettings) -> int:
    """How many tokens there are: as set, or by the largest of all rows, which says what the channel may hold."""
    if settings.vocabulary is not None:
        return settings.vocabulary
    if interface.benchmark is None or channel.name not in interface.benchmark.inputs:
        raise ConfigError("graph.vocabulary: no data tell how many tokens there are: write it, e.g. vocabulary: 100")
    rows = interface.benchmark.inputs[channel.name]
    if rows.dtype.kind != "i":
        raise ConfigError(
            f"graph.inputs.{channel.name}: expected tokens, which are whole numbers, and the data hold {rows.dtype}: give "
            "integers, or a sequence [units, places]"
        )
    if int(rows.min()) < 0:
        raise ConfigError(
            f"graph.inputs.{channel.name}: tokens are whole numbers from 0, the data have {int(rows.min())}"
        )
    return 1 + int(rows.max())


sequence = register(
    Template("sequence", "attention and a GRU on tokens or signals: texts, events", SequenceSettings, build)
)
