"""The zygote of runners: its children compute what a block answers. It holds no data of a campaign. Run as ``python -m``."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fitness.judges.tiles import MAX_GRAPH_BYTES
from fitness.processes import messages
from fitness.processes.verdicts import WrongOutput
from fitness.processes.warm_up import warm
from fitness.processes.zygote_server import Role, import_all, serve
from population.blocks.block import TensorBlock
from population.encoding.cbor import decode
from population.graphs.graph import OpGraph
from population.operations import dimensions as dims
from population.stacks.interpreters import run_block
from population.stacks.threads import single_threaded


def prepare(start: messages.Message) -> Role:
    """Returns the role of runners; plugins are imported here."""
    torch.set_num_threads(1)
    import_all(start.fields["plugins"])
    warm()
    return Role(_run)


def _run(message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
    fields, offsets = message.fields, iter(message.fields["offsets"])
    first = next(offsets)
    graph = OpGraph.from_value(decode(given[first : first + fields["graph_bytes"]], max_bytes=MAX_GRAPH_BYTES))
    tensors = _tensors(given, fields["tensors"], offsets)
    inputs = _tensors(given, fields["inputs"], offsets)
    with torch.no_grad(), single_threaded():
        found = run_block(TensorBlock(graph, tensors), inputs, outputs=fields["outputs"])
    return messages.Message("outputs", {"bytes": _write(found, graph, fields, taken)})


def _tensors(
    memory: mmap.mmap, named: Sequence[tuple[str, Sequence[int]]], offsets: Iterator[int]
) -> dict[str, torch.Tensor]:
    """Returns copies of float32 tensors that lie in memory."""
    found = {}
    for (name, shape), offset in zip(named, offsets, strict=False):
        array = np.frombuffer(memory, dtype="<f4", count=math.prod(shape), offset=offset)
        found[name] = torch.from_numpy(array.reshape(list(shape)).copy())
    return found


def _write(found: Mapping[str, torch.Tensor], graph: OpGraph, fields: Mapping[str, Any], taken: mmap.mmap) -> int:
    """Writes the outputs one after the other; returns how many bytes. Raises: WrongOutput where one has another shape."""
    nodes, position = dict(graph.outputs), 0
    for channel in fields["outputs"]:
        shape = [fields["num_rows"], *dims.sizes(graph.value_shapes[nodes[channel]], graph.symbols)]
        value = found[channel]
        if list(value.shape) != shape or value.dtype != torch.float32:
            raise WrongOutput(f"output {channel!r} must be {shape} float32, got {list(value.shape)} {value.dtype}")
        into = np.frombuffer(taken, dtype="<f4", count=value.numel(), offset=position).reshape(shape)
        into[...] = value.numpy()
        position += into.nbytes
    return position


if __name__ == "__main__":
    serve(prepare)
