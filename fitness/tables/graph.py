"""The op graph of a tabular block: filters that fill, scale, mark and embed, then a linear path beside a residual network.

The linear path is what linear models are, so that a block begins from what they can do; the network adds the rest. Of a
regression the last two nodes bring the answer into the target's own unit.

Nouns: none beyond those of graphs.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fitness.tables.prepare import Preparation
from population.decoder import CATEGORIES, NUMBERS, TOKENS

Value = dict[str, Any]


class TabularSettings(BaseModel):
    """How large a tabular block is.

    Attributes:
        hidden: units of the network. blocks: residual blocks after its first layer. embedding: numbers that stand for a
            category of a column with many. limit: how many deviations an outlier is bent down to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(default=64, ge=1, le=4096)
    blocks: int = Field(default=1, ge=0, le=64)
    embedding: int = Field(default=8, ge=1, le=256)
    limit: float = Field(default=4.0, gt=0)


def tabular_graph(made: Preparation, settings: TabularSettings) -> Value:
    """Returns the plain value of the graph for rows that were prepared so."""
    channels = made.decoder.channels
    inputs = {name: {"shape": [size], "dtype": dtype} for name, (dtype, size) in channels.items()}
    filters = {name: _FILTERS[name](made, settings) for name in channels}
    nodes: list[Value] = []
    source = next(iter(channels))
    if len(channels) > 1:
        nodes.append({"name": "columns", "op": "concatenate", "inputs": list(channels)})
        source = "columns"
    nodes += _network(source, len(made.classes) or 1, settings)
    if not made.classes:
        nodes.append({"name": "scaled", "op": "multiply", "inputs": ["answer"], "value": made.deviation})
        nodes.append({"name": "moved", "op": "add", "inputs": ["scaled"], "value": made.mean})
    return {
        "inputs": inputs,
        "symbols": {"hidden": settings.hidden},
        "filters": filters,
        "nodes": nodes,
        "outputs": {made.output: nodes[-1]["name"]},
    }


def _numbers(made: Preparation, settings: TabularSettings) -> list[Value]:
    scaling = made.scaling
    ranges = {"mean": list(scaling.means), "deviation": list(scaling.deviations), "limit": settings.limit}
    chain: list[Value] = [
        {"name": "filled", "op": "impute", "inputs": [NUMBERS], "value": list(scaling.fills)},
        {"name": "standard", "op": "standardize", "inputs": ["filled"], **ranges},
    ]
    if scaling.gaps:
        chain.append({"name": "gaps", "op": "isnan", "inputs": [NUMBERS], "positions": list(scaling.gaps)})
        chain.append({"name": "known", "op": "concatenate", "inputs": ["standard", "gaps"]})
    return chain


def _categories(made: Preparation, settings: TabularSettings) -> list[Value]:
    sizes = made.decoder.code_sizes(CATEGORIES)
    return [{"name": "marks", "op": "one_hot", "inputs": [CATEGORIES], "sizes": sizes}]


def _tokens(made: Preparation, settings: TabularSettings) -> list[Value]:
    sizes = made.decoder.code_sizes(TOKENS)
    return [{"name": "tokens_marks", "op": "one_hot", "inputs": [TOKENS], "sizes": sizes}]


_FILTERS = {NUMBERS: _numbers, CATEGORIES: _categories, TOKENS: _tokens}


def _network(source: str, size: int, settings: TabularSettings) -> list[Value]:
    nodes: list[Value] = [{"name": "first", "op": "linear", "inputs": [source], "out": "hidden"}]
    state = "first"
    for place in range(1, settings.blocks + 1):
        name = f"block{place}"
        nodes += [
            {"name": f"{name}_norm", "op": "layer_norm", "inputs": [state]},
            {"name": f"{name}_in", "op": "linear", "inputs": [f"{name}_norm"], "out": "hidden"},
            {"name": f"{name}_act", "op": "relu", "inputs": [f"{name}_in"]},
            {"name": f"{name}_out", "op": "linear", "inputs": [f"{name}_act"], "out": "hidden"},
            {"name": name, "op": "add", "inputs": [state, f"{name}_out"]},
        ]
        state = name
    return [
        *nodes,
        {"name": "last", "op": "relu", "inputs": [state]},
        {"name": "deep", "op": "linear", "inputs": ["last"], "out": size},
        {"name": "linear", "op": "linear", "inputs": [source], "out": size, "bias": False},
        {"name": "answer", "op": "add", "inputs": ["deep", "linear"]},
    ]
