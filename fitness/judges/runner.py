"""Runs a block that holds operations of another package: in a jail that has the block, its inputs, and no data of a campaign.

Nouns: *runner* (what answers for a block as ``population.stacks.interpreters.run_block`` does, to the same bits).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fitness.judges.tiles import bytes_of
from fitness.processes.isolation import IsolationReport
from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Failure, Limits
from population.blocks.block import TensorBlock
from population.encoding.cbor import encode
from population.errors import InputError
from population.graphs.graph import OpGraph
from population.operations import dimensions as dims
from population.stacks.tiers import WIDEST

PROCESS = "fitness.judges.runner_process"
Tensors = Mapping[str, torch.Tensor]


class JailedRunner:
    """Runs blocks. One thread at a time; whoever makes it closes it.

    Args:
        plugins: modules that register operations, imported by the zygote.
        without: layers of the jail not to put up, as on a machine that lacks them.
    """

    def __init__(
        self, plugins: Sequence[str] = (), *, limits: Limits | None = None, without: Sequence[str] = ()
    ) -> None:
        self._cell = Cell(PROCESS, {"plugins": list(plugins)}, limits or Limits(), without=without)

    @property
    def report(self) -> IsolationReport:
        """What a child can still do on this machine, found by attacking from within. Raises: EvaluatorFailed."""
        return self._cell.report

    def run(
        self, block: TensorBlock, inputs: Tensors, tier: str = WIDEST, outputs: Sequence[str] | None = None
    ) -> dict[str, torch.Tensor]:
        """Returns the wanted output channels (None: all) of a block at a tier, ``[N, *shape]``.

        Raises:
            InputError: an operation failed, or used too much. EvaluatorFailed: no jail can be had.
        """
        graph, num_rows = block.graph_of(tier), len(next(iter(inputs.values())))
        wanted = [channel for channel, _ in graph.outputs] if outputs is None else list(dict.fromkeys(outputs))
        shapes = _shapes(graph, wanted, num_rows)
        tensors, given = _floats(block.tensors_of(tier)), _floats(inputs)
        data = encode(graph.to_value())
        fields: dict[str, Any] = {"graph_bytes": len(data), "outputs": wanted, "num_rows": num_rows}
        fields |= {"tensors": _sizes(tensors), "inputs": _sizes(given)}
        parts = [memoryview(data), *(bytes_of(array) for array in (*tensors.values(), *given.values()))]
        num_bytes = sum(4 * math.prod(shape) for shape in shapes.values())
        answer = self._cell.ask_once("run", fields, parts, num_bytes, "outputs")
        if not isinstance(answer, Failure) and answer.fields.get("bytes") != num_bytes:
            answer = self._cell.refuse()
        if isinstance(answer, Failure):
            raise InputError(f"the block fails in its jail ({answer.cause}): {answer.detail}")
        return self._copied(shapes)

    def close(self) -> None:
        """Ends the jail; closing twice changes nothing."""
        self._cell.abandon()

    def _copied(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
        """Returns a copy of what the child wrote, made before any of it is looked at."""
        assert self._cell.child is not None, "a child has just answered"
        found, position = {}, 0
        for channel, shape in shapes.items():
            size = 4 * math.prod(shape)
            data = bytearray(self._cell.child.taken.memory[position : position + size])
            found[channel] = torch.from_numpy(np.frombuffer(data, dtype="<f4").reshape(shape))
            position += size
        return found


def _shapes(graph: OpGraph, wanted: Sequence[str], num_rows: int) -> dict[str, tuple[int, ...]]:
    nodes = dict(graph.outputs)
    return {channel: (num_rows, *dims.sizes(graph.value_shapes[nodes[channel]], graph.symbols)) for channel in wanted}


def _floats(tensors: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """Returns tensors as float32, which all of them are computed in."""
    return {name: tensor.detach().to(torch.float32).contiguous().numpy() for name, tensor in tensors.items()}


def _sizes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> list[list[Any]]:
    return [[name, list(array.shape)] for name, array in arrays.items()]
