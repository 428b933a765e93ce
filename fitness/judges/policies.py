"""Candidates as policies: held while episodes go on, they answer observations with outputs. The same code in every judge.

Each row of each tier plays lanes of its own and sees its own observations; it computes in pieces of the tile's size, so that
no bit of an answer depends on how many rows or lanes there are.

Shapes: T tiers, n rows, L lanes of a row, K numbers that a policy answers with; P by N, a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fitness.judges.tiles import Tile
from fitness.processes.verdicts import WrongOutput
from population.stacks.interpreters import run_stack
from population.stacks.stack import Stack
from population.stacks.tiers import slice_stack

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Piece:
    """Some rows of one tier, padded to the tile's size with copies of the first. count: how many are not copies."""

    tier: int
    first: int
    count: int
    stack: Stack


class Policies:
    """The rows of a tile at all its tiers, ready to answer. channel: the input channel that observations go to."""

    def __init__(self, tile: Tile, channel: str) -> None:
        self._tile, self._channel = tile, channel
        self._pieces = [piece for tier in range(len(tile.tiers)) for piece in _pieces(tile, tier)]

    def act(self, observations: Floats) -> Floats:
        """Returns ``[T, n, K, L]`` for observations ``[T, n, *shape, L]``.

        Raises:
            WrongOutput: an operation broke its promise. Whatever else an operation raises passes through.
        """
        tile, lanes = self._tile, observations.shape[-1]
        given = torch.from_numpy(observations)
        answers = np.zeros((len(tile.tiers), tile.rows.num_rows, tile.num_outputs, lanes), dtype=np.float32)
        with torch.no_grad():
            for piece in self._pieces:
                rows = slice(piece.first, piece.first + piece.count)
                for start in range(0, lanes, tile.plan.samples):
                    stop = min(start + tile.plan.samples, lanes)
                    answers[piece.tier, rows, :, start:stop] = self._run(
                        piece, given[piece.tier, rows, ..., start:stop]
                    )
        return answers

    def _run(self, piece: Piece, given: torch.Tensor) -> Floats:
        plan, wanted = self._tile.plan, (self._tile.plan.candidates, *given.shape[1:-1], self._tile.plan.samples)
        if given.shape == wanted:
            padded = given.clone(memory_format=torch.contiguous_format)  # torch's memory begins at whole vectors
        else:
            padded = given.new_zeros(wanted)
            padded[: piece.count, ..., : given.shape[-1]] = given
        ((output, size),) = self._tile.outputs
        result = run_stack(piece.stack, {self._channel: padded}, [output])[output]
        expected = (plan.candidates, size, plan.samples)
        if tuple(result.shape) != expected or result.dtype != torch.float32:
            found = f"{list(result.shape)} {str(result.dtype).removeprefix('torch.')}"
            raise WrongOutput(f"output {output!r} must be {list(expected)} float32, got {found}")
        answers: Floats = result[: piece.count, :, : given.shape[-1]].numpy()
        return answers


def _pieces(tile: Tile, tier: int) -> Sequence[Piece]:
    name, widths = tile.tiers[tier]
    size, count, found = tile.plan.candidates, tile.rows.num_rows, []
    for first in range(0, count, size):
        rows = range(first, min(first + size, count))
        missing = size - len(rows)
        full = tile.rows.gather(torch.tensor([*rows, *[first] * missing], dtype=torch.int64))
        found.append(Piece(tier, first, len(rows), slice_stack(full, widths, name) if widths else full))
    return found
