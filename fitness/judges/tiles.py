"""Runs a tile: rows of one species, sliced to each tier, on all samples of a split. The same code in every judge.

Shapes: P candidates of a full tile, K numbers a row, R rows of the split, N samples of a tile.
"""

from __future__ import annotations

import functools
import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fitness.judges.tile_plan import KernelPlan
from fitness.processes.verdicts import WrongOutput
from population.encoding.cbor import decode
from population.graphs.graph import OpGraph
from population.stacks.interpreters import run_stack
from population.stacks.stack import TIER_MARK, Stack
from population.stacks.tiers import slice_stack

Outputs = tuple[npt.NDArray[np.float32], ...]
MAX_GRAPH_BYTES = 16 << 20


@dataclass(frozen=True)
class Tile:
    """Rows of one species to run in one go: those of one tile of the plan, or of several, one after the other.

    Attributes:
        key: names the inputs. graph: canonical bytes of the op graph's plain value. rows: the candidates, without state.
        tiers: (name, widths by symbol) in the order of the outputs; no widths mean the whole row.
        outputs: the output channels that are wanted, each with how many numbers it holds; K in all, one after the other.
        has_plugins: whether the graph holds operations that are not ours.
    """

    key: bytes
    graph: bytes
    rows: Stack
    tiers: tuple[tuple[str, Mapping[str, int]], ...]
    plan: KernelPlan
    outputs: tuple[tuple[str, int], ...]
    has_plugins: bool = False

    @property
    def num_outputs(self) -> int:
        """Returns K."""
        return sum(size for _, size in self.outputs)

    def output_shapes(self, num_rows: int) -> list[tuple[int, ...]]:
        """Returns the shape of each tier's outputs, ``[rows of the tile, K, R]``."""
        return [(self.rows.num_rows, self.num_outputs, num_rows)] * len(self.tiers)

    def parts(self) -> list[memoryview]:
        """Returns what is large of a tile, as it goes into shared memory: graph, widths, tensors by sorted name."""
        tensors = [self.rows.widths, *(self.rows.tensors[name] for name in sorted(self.rows.tensors))]
        arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
        return [memoryview(self.graph), *(bytes_of(array) for array in arrays)]

    def to_fields(self, number: int, offsets: Sequence[int]) -> dict[str, Any]:
        """Returns the rest of it as a plain value.

        Args:
            number: what the other side knows the inputs by. offsets: where the parts lie.
        """
        return {
            "inputs": number,
            "tiers": [[name, dict(widths)] for name, widths in self.tiers],
            "plan": self.plan.to_value(),
            "outputs": [list(pair) for pair in self.outputs],
            "num_rows": self.rows.num_rows,
            "graph_bytes": len(self.graph),
            "tensors": sorted(self.rows.tensors),
            "offsets": list(offsets),
        }

    @staticmethod
    def from_memory(fields: Mapping[str, Any], memory: mmap.mmap) -> Tile:
        """Returns the tile of ``to_fields`` and of the parts in memory, without key and plugin mark; new memory."""
        first, second, *others = fields["offsets"]
        data, num = memory[first : first + fields["graph_bytes"]], fields["num_rows"]
        graph = _graph_of(data)
        widths = _tensor(memory, np.dtype("<i8"), (num, len(graph.symbol_names)), second)
        tensors = {
            name: _tensor(memory, np.dtype("<f4"), (num, *shape), offset)
            for name, offset, shape in zip(fields["tensors"], others, _shapes(graph, fields["tensors"]), strict=True)
        }
        tiers = tuple((name, sizes) for name, sizes in fields["tiers"])
        outputs = tuple((name, size) for name, size in fields["outputs"])
        return Tile(b"", data, Stack(graph, tensors, widths), tiers, KernelPlan(**fields["plan"]), outputs)


def _shapes(graph: OpGraph, names: Sequence[str]) -> list[tuple[int, ...]]:
    return [graph.parameter_shape(name.partition(TIER_MARK)[0], graph.symbols) for name in names]


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """Returns the bytes of an array that lies in one piece, not copied."""
    return memoryview(array.data).cast("B") if array.size else memoryview(b"")


def _tensor(memory: mmap.mmap, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> torch.Tensor:
    array = np.frombuffer(memory, dtype=dtype, count=math.prod(shape), offset=offset)
    return torch.from_numpy(array.reshape(shape).copy())


class Samples:
    """The inputs of a split with the samples last, padded with zero rows to whole tiles."""

    def __init__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self._inputs = {name: np.moveaxis(array, 0, -1)[None] for name, array in inputs.items()}  # [1, *shape, R]
        self.num_rows = next(iter(self._inputs.values())).shape[-1]
        self._padded: dict[int, dict[str, torch.Tensor]] = {}

    def tiles(self, plan: KernelPlan) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """Yields (first sample, channel -> ``[1, *shape, N]``) tile by tile, new memory: an operation may spoil its own."""
        padded = self._padded.get(plan.samples)
        if padded is None:
            padded = {name: _pad(array, plan.padded(self.num_rows)) for name, array in self._inputs.items()}
            self._padded[plan.samples] = padded
        for start in range(0, plan.padded(self.num_rows), plan.samples):
            stop = start + plan.samples
            yield start, {name: tensor[..., start:stop].clone() for name, tensor in padded.items()}


def forward(tile: Tile, samples: Samples) -> Outputs:
    """Returns the outputs of a tile, one array ``[rows, K, R]`` a tier.

    Raises:
        WrongOutput: an operation broke its promise. Whatever else an operation raises passes through.
    """
    found = [outputs for _, outputs in forward_pieces(tile, samples)]
    return found[0] if len(found) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


def forward_pieces(tile: Tile, samples: Samples) -> Iterator[tuple[int, Outputs]]:
    """Yields the outputs of one tile of the plan after the other, each with the place of its first row.

    Everything is computed at the plan's size: missing candidates are copies of a first row, missing samples are zeros.
    """
    size, count = tile.plan.candidates, tile.rows.num_rows
    for start in range(0, count, size):
        with torch.no_grad():
            outputs = _forward(tile, range(start, min(start + size, count)), samples)
        yield start, outputs


def _forward(tile: Tile, rows: range, samples: Samples) -> Outputs:
    missing = tile.plan.candidates - len(rows)
    full = tile.rows.gather(torch.tensor([*rows, *[rows[0]] * missing], dtype=torch.int64))
    tiers = (slice_stack(full, widths, name) if widths else full for name, widths in tile.tiers)
    return tuple(_run_tier(stack, tile, samples)[: len(rows)] for stack in tiers)


def _run_tier(stack: Stack, tile: Tile, samples: Samples) -> npt.NDArray[np.float32]:
    outputs = np.empty((stack.num_rows, tile.num_outputs, samples.num_rows), dtype=np.float32)
    wanted = [name for name, _ in tile.outputs]
    for start, inputs in samples.tiles(tile.plan):
        stop = min(start + tile.plan.samples, samples.num_rows)
        results, first = run_stack(stack, inputs, wanted), 0
        for name, size in tile.outputs:
            result = results[name]
            if tuple(result.shape) != (stack.num_rows, size, tile.plan.samples) or result.dtype != torch.float32:
                found = f"{list(result.shape)} {str(result.dtype).removeprefix('torch.')}"
                expected = [stack.num_rows, size, tile.plan.samples]
                raise WrongOutput(f"output {name!r} must be {expected} float32, got {found}")
            outputs[:, first : first + size, start:stop] = result[..., : stop - start].numpy()
            first += size
    return outputs


@functools.lru_cache(maxsize=8)
def _graph_of(data: bytes) -> OpGraph:
    return OpGraph.from_value(decode(data, max_bytes=MAX_GRAPH_BYTES))


def _pad(array: npt.NDArray[Any], num_samples: int) -> torch.Tensor:
    widths: Sequence[tuple[int, int]] = [(0, 0)] * (array.ndim - 1) + [(0, num_samples - array.shape[-1])]
    return torch.from_numpy(np.ascontiguousarray(np.pad(array, widths)))
