"""``tabular``: filters that fill, scale, mark and embed a table's columns, then a linear path beside a network.

The linear path is what linear models are, so that a block begins from what they can do; the network adds the rest. Of a
regression the last two nodes bring the answer into the target's own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from evolve.operators.registry import Settings
from evolve.templates.parts import Activation, Nodes, Width, node, whole
from evolve.templates.registry import Interface, Template, register
from fitness.tables import Preparation
from fitness.tables.fit import rounded
from population.errors import ConfigError
from population.inputs.decoder import CATEGORIES, NUMBERS, TOKENS

#: From so many training rows on, a deeper and wider network is no longer learned by heart.
MANY_ROWS = 10_000
#: Steps are shown of tables with so many training rows; so many of a number, and so many in all at most.
ROWS_FOR_PIECES = 1000
LEAST_PIECES, MOST_PIECES = 3, 12
PIECES_IN_ALL = 128


class TabularSettings(Settings):
    """How large a tabular block is.

    Attributes:
        hidden: units of the network. blocks: residual blocks after its first layer; by default one from 10,000 training rows
            on: of the tables that were tried, those with fewer did better without. embedding: numbers that stand for a
            category of a column with many. limit: how many deviations an outlier is bent down to. share: what a residual block
            counts at first, so that few rows are learned by the simpler paths before they are learned by heart.
        pieces: smooth steps, one at each quantile, that every number is shown as beside itself, so that the linear path
            follows curves and skewed numbers; by default as many as rows and columns bear, none below 1,000 rows. After
            Gorishniy et al. 2022, https://arxiv.org/abs/2203.05556, sec. 3.2, where steps are straight.
    """

    hidden: Width = 64
    blocks: int | None = Field(default=None, ge=0, le=64)
    embedding: int = Field(default=8, ge=1, le=256)
    limit: float = Field(default=4.0, gt=0)
    share: float = Field(default=0.2, gt=0)
    pieces: int | None = Field(default=None, ge=0, le=64)
    activation: Activation = "relu"


def build(interface: Interface, settings: TabularSettings) -> Mapping[str, Any]:
    """Returns the graph for rows of a table that was prepared. Raises ConfigError where there is none."""
    made = interface.benchmark.preparation if interface.benchmark is not None else None
    if made is None:
        raise ConfigError("graph.template: tabular is made for a table: name one with data.path and data.target")
    filters = {channel.name: _FILTERS[channel.name](interface, made, settings) for channel in interface.inputs}
    names = [channel.name for channel in interface.inputs]  # each read by its filter's last node, which is flat
    first, source = ([], names[0]) if len(names) == 1 else ([node("columns", "concatenate", *names)], "columns")
    (output, size), *_ = interface.outputs.items()
    nodes = [*first, *_network(source, size, _blocks(interface, settings), settings)]
    if not made.classes:
        nodes.append(node("scaled", "multiply", "answer", value=made.deviation))
        nodes.append(node("moved", "add", "scaled", value=made.mean))
    return whole(interface, nodes, {"hidden": settings.hidden}, {output: nodes[-1]["name"]}, filters)


def _numbers(interface: Interface, made: Preparation, settings: TabularSettings) -> Nodes:
    scaling = made.scaling
    ranges = {"mean": list(scaling.means), "deviation": list(scaling.deviations), "limit": settings.limit}
    chain = [
        node("filled", "impute", NUMBERS, value=list(scaling.fills)),
        node("standard", "standardize", "filled", **ranges),
    ]
    parts, rows = ["standard"], interface.training_rows(NUMBERS)
    count = _pieces(rows, settings)
    if rows is not None and count:
        knots, widths = _knots(rows.astype(np.float64), count)
        copies = "filled"
        if count > 1:
            copies = "copies"
            chain.append(node(copies, "concatenate", *["filled"] * count))
        chain.append(node("pieces", "standardize", copies, mean=knots, deviation=widths, limit=1.0))
        parts.append("pieces")
    if scaling.gaps:
        chain.append(node("gaps", "isnan", NUMBERS, positions=list(scaling.gaps)))
        parts.append("gaps")
    if len(parts) > 1:
        chain.append(node("known", "concatenate", *parts))
    return chain


def _pieces(rows: npt.NDArray[Any] | None, settings: TabularSettings) -> int:
    """How many steps every number is cut into."""
    if settings.pieces is not None or rows is None:
        return settings.pieces or 0
    count = min(MOST_PIECES, PIECES_IN_ALL // rows.shape[1]) if len(rows) >= ROWS_FOR_PIECES else 0
    return count if count >= LEAST_PIECES else 0


def _knots(rows: npt.NDArray[np.float64], count: int) -> tuple[list[float], list[float]]:
    """Returns where steps begin to bend and how wide they are, ``[count * C]``: ``count`` quantiles of every number ``[R, C]``.

    A step reaches from the quantile before to the one after; where those are one value, over a quarter of a deviation.
    """
    within = [0.02, *np.linspace(0, 1, count + 2)[1:-1].tolist(), 0.98]  # a step does not reach out to the outliers
    at = np.nanquantile(rows, within, axis=0)
    least = 0.02 * np.nanstd(rows, axis=0)
    widths = (at[2:] - at[:-2]) / 2
    widths = np.where(widths > least, widths, np.maximum(12.5 * least, 1e-3))
    flat = [[rounded(value) for value in part.reshape(-1).tolist()] for part in (at[1:-1], widths)]
    return flat[0], flat[1]


def _categories(interface: Interface, made: Preparation, settings: TabularSettings) -> Nodes:
    return [node("marks", "one_hot", CATEGORIES, sizes=made.decoder.code_sizes(CATEGORIES))]


def _tokens(interface: Interface, made: Preparation, settings: TabularSettings) -> Nodes:
    counts = [size + 1 for size in made.decoder.code_sizes(TOKENS)]  # code 0 says that nothing is known
    return [
        node("embedded", "embedding", TOKENS, num_embeddings=counts, out=settings.embedding),
        node("vectors", "flatten", "embedded"),
    ]


_FILTERS: Mapping[str, Callable[[Interface, Preparation, TabularSettings], Nodes]] = {
    NUMBERS: _numbers,
    CATEGORIES: _categories,
    TOKENS: _tokens,
}


def _blocks(interface: Interface, settings: TabularSettings) -> int:
    if settings.blocks is not None or interface.benchmark is None:
        return settings.blocks or 0
    return int(len(interface.benchmark.rows("train")) >= MANY_ROWS)


def _network(source: str, size: int, blocks: int, settings: TabularSettings) -> Nodes:
    nodes, state = [node("first", "linear", source, out="hidden")], "first"
    for name in (f"block{place}" for place in range(1, blocks + 1)):
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
