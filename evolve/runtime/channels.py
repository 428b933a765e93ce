"""What a block is given, as tensors: arrays, data frames or raw rows of a table, checked against its input channels.

Shapes: N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from population.blocks.block import TensorBlock
from population.errors import InputError
from population.graphs.graph import Channel
from population.inputs.cells import cells_of
from population.lazy_torch import torch


def inputs_of(block: TensorBlock, data: Any) -> dict[str, torch.Tensor]:
    """Returns channel -> tensor ``[N, *shape]`` of what a block is given: arrays, or raw rows of a table for its decoder.

    Raw rows are columns by name (a mapping, a data frame), unless the names are those of the channels.

    Raises:
        InputError: a column or channel is missing, or holds what cannot be read; it is named.
    """
    graph, names = block.graph, {channel.name for channel in block.graph.inputs}
    has_columns = isinstance(data, Mapping) or hasattr(data, "columns")
    if block.decoder is None or not has_columns or set(map(str, data)) == names:
        return channels_of(graph.inputs, data, graph.channels_with_gaps)
    wanted = {column.name for column in block.decoder.columns}
    decoded = block.decoder.decode({str(key): cells_of(data[key], str(key)) for key in data if str(key) in wanted})
    if not all(len(array) for array in decoded.values()):
        raise InputError("there are no rows")
    return channels_of(graph.inputs, {name: decoded[name] for name in names}, graph.channels_with_gaps)


def channels_of(channels: Sequence[Channel], data: Any, gaps: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Returns channel -> tensor ``[N, *shape]`` for an array, a data frame or a dict of arrays.

    Args:
        gaps: channels in which NaN stands for a missing number.

    Raises:
        InputError: a channel is missing or unknown, or has another shape or dtype; it is named.
    """
    names = [channel.name for channel in channels]
    if not isinstance(data, Mapping):
        if len(channels) != 1:
            raise InputError(
                f"this block has {len(names)} inputs: give a dict from channel to array, of {', '.join(names)}"
            )
        data = {names[0]: data}
    if set(data) != set(names):
        raise InputError(f"expected the input channels {', '.join(names)}, got {', '.join(map(str, data)) or 'none'}")
    tensors = {channel.name: _tensor(channel, data[channel.name], channel.name in gaps) for channel in channels}
    rows = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(rows.values())) > 1:
        raise InputError(f"input channels must have the same number of rows, got {rows}")
    return tensors


def _tensor(channel: Channel, data: Any, may_miss: bool = False) -> torch.Tensor:
    array = np.asarray(data.to_numpy() if hasattr(data, "to_numpy") else data)
    shape = tuple(channel.shape)
    features = math.prod(shape)
    if array.ndim == 2 and array.shape[1] == features:
        array = array.reshape(-1, *shape)
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
        wanted = ", ".join(["N", *map(str, shape)])
        raise InputError(
            f"input channel {channel.name!r}: expected shape [{wanted}] or [N, {features}] with N > 0, "
            f"got {list(array.shape)}"
        )
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"input channel {channel.name!r}: expected numbers for {channel.dtype}, got dtype {array.dtype}"
        )
    wanted_type = np.dtype(channel.dtype)
    with np.errstate(over="ignore"):
        converted = array.astype(wanted_type)
    good = np.isfinite(converted)
    if may_miss and array.dtype.kind == "f":
        good |= np.isnan(array)
    bad = ~good
    if wanted_type.kind == "f" and bad.any():
        row = int(np.flatnonzero(bad.reshape(len(converted), -1).any(axis=1))[0])
        raise InputError(
            f"input channel {channel.name!r}: row {row} holds NaN, infinity or a number beyond {channel.dtype}; drop it"
        )
    if wanted_type.kind in "iu" and not np.array_equal(converted, array):
        raise InputError(
            f"input channel {channel.name!r}: expected {channel.dtype}, got {array.dtype} with other values"
        )
    return torch.from_numpy(np.ascontiguousarray(converted))
