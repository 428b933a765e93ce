"""``tabular``: filters that fill, scale, mark and embed a table's columns, then a linear path beside a network.

The linear path is what linear models are, so that a block begins from what they can do; the network adds the rest. Of a
regression the last two nodes bring the answer into the target's own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from evolve.operators.registry import Settings
from evolve.templates.parts import Activation, Nodes, Width, node, whole
from evolve.templates.registry import Interface, Template, register
from fitness.tables import Preparation
from population.decoder import CATEGORIES, NUMBERS, TOKENS
from population.errors import ConfigError


class TabularSettings(Settings):
    """How large a tabular block is.

    Attributes:
        hidden: units of the network. blocks: residual blocks after its first layer; of the tables that were tried, those of
            less than 50,000 rows did better without. embedding: numbers that stand for a
            category of a column with many. limit: how many deviations an outlier is bent down to. share: what a residual block
            counts at first, so that few rows are learned by the simpler paths before they are learned by heart.
    """

    hidden: Width = 64
    blocks: int = Field(default=0, ge=0, le=64)
    embedding: int = Field(default=8, ge=1, le=256)
    limit: float = Field(default=4.0, gt=0)
    share: float = Field(default=0.2, gt=0)
    activation: Activation = "relu"


def build(interface: Interface, settings: TabularSettings) -> Mapping[str, Any]:
    """Returns the graph for rows of a table that was prepared. Raises ConfigError where there is none."""
    made = interface.benchmark.preparation if interface.benchmark is not None else None
    if made is None:
        raise ConfigError("graph.template: tabular is made for a table: name one with data.path and data.target")
    filters = {channel.name: _FILTERS[channel.name](made, settings) for channel in interface.inputs}
    names = [channel.name for channel in interface.inputs]  # each read by its filter's last node, which is flat
    first, source = ([], names[0]) if len(names) == 1 else ([node("columns", "concatenate", *names)], "columns")
    (output, size), *_ = interface.outputs.items()
    nodes = [*first, *_network(source, size, settings)]
    if not made.classes:
        nodes.append(node("scaled", "multiply", "answer", value=made.deviation))
        nodes.append(node("moved", "add", "scaled", value=made.mean))
    return whole(interface, nodes, {"hidden": settings.hidden}, {output: nodes[-1]["name"]}, filters)


def _numbers(made: Preparation, settings: TabularSettings) -> Nodes:
    scaling = made.scaling
    ranges = {"mean": list(scaling.means), "deviation": list(scaling.deviations), "limit": settings.limit}
    chain = [
        node("filled", "impute", NUMBERS, value=list(scaling.fills)),
        node("standard", "standardize", "filled", **ranges),
    ]
    if scaling.gaps:
        chain.append(node("gaps", "isnan", NUMBERS, positions=list(scaling.gaps)))
        chain.append(node("known", "concatenate", "standard", "gaps"))
    return chain


def _categories(made: Preparation, settings: TabularSettings) -> Nodes:
    return [node("marks", "one_hot", CATEGORIES, sizes=made.decoder.code_sizes(CATEGORIES))]


def _tokens(made: Preparation, settings: TabularSettings) -> Nodes:
    counts = [size + 1 for size in made.decoder.code_sizes(TOKENS)]  # code 0 says that nothing is known
    return [
        node("embedded", "embedding", TOKENS, num_embeddings=counts, out=settings.embedding),
        node("vectors", "flatten", "embedded"),
    ]


_FILTERS: Mapping[str, Callable[[Preparation, TabularSettings], Nodes]] = {
    NUMBERS: _numbers,
    CATEGORIES: _categories,
    TOKENS: _tokens,
}


def _network(source: str, size: int, settings: TabularSettings) -> Nodes:
    nodes, state = [node("first", "linear", source, out="hidden")], "first"
    for name in (f"block{place}" for place in range(1, settings.blocks + 1)):
        nodes += [
            node(f"{name}.norm", "layer_norm", state),
            node(f"{name}.in", "linear", f"{name}.norm", out="hidden"),
            node(f"{name}.act", settings.activation, f"{name}.in"),
            node(f"{name}.out", "linear", f"{name}.act", out="hidden"),
            node(f"{name}.part", "multiply", f"{name}.out", value=settings.share),
            node(name, "add", state, f"{name}.part"),
        ]
        state = name
    return [
        *nodes,
        node("last", settings.activation, state),
        node("deep", "linear", "last", out=size, per_tier=["bias"]),
        node("linear", "linear", source, out=size, bias=False),
        node("answer", "add", "deep", "linear"),
    ]


tabular = register(
    Template("tabular", "a linear path beside a residual network, on a table's own columns", TabularSettings, build)
)
