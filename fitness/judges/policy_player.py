"""Players: candidates that answer observations step by step, in a judge's own process or in its jail.

Nouns: *player* (some rows of one species at all their tiers, held while episodes go on).

Shapes: T tiers, n rows, L lanes of a row, K numbers that a policy answers with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fitness.judges.policies import Policies
from fitness.judges.tiles import Tile, bytes_of
from fitness.processes import messages, verdicts
from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Failure, Limits
from fitness.processes.zygote import Child
from population.stacks.threads import single_threaded

Floats = npt.NDArray[np.float32]


class Player(Protocol):
    """Policies that answer. One thread at a time; after a failure, or once closed, it answers no more."""

    def act(self, observations: Floats) -> Floats | Failure:
        """Returns ``[T, n, K, L]`` for observations ``[T, n, *shape, L]``; not checked for NaN.

        Raises:
            ZygoteGone: the jail was lost, which is nobody's doing here.
        """

    def close(self) -> None:
        """Ends the play; closing twice changes nothing."""


class InlinePlayer:
    """A player in this very process: no isolation at all."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def act(self, observations: Floats) -> Floats | Failure:
        with single_threaded():
            return guarded(lambda: self._policies.act(observations))

    def close(self) -> None:
        pass


class JailedPlayer:
    """A player in a judge's child, which holds the policies already: a step sends observations only.

    Args:
        limits: what all answers together may take. ended: called once with the child when the play is over.
    """

    def __init__(self, cell: Cell, child: Child, tile: Tile, limits: Limits, ended: Callable[[Child], None]) -> None:
        self._cell, self._child, self._ended = cell, child, ended
        self._shape = (len(tile.tiers), tile.rows.num_rows, tile.num_outputs)
        self._wall_s, self._cpu_end = limits.wall_s, child.cpu_s() + limits.cpu_s

    def act(self, observations: Floats) -> Floats | Failure:
        child, shape = self._child, (*self._shape, observations.shape[-1])
        fields = {"offsets": child.given.fill([bytes_of(observations)]), "shape": list(observations.shape)}
        began = time.monotonic()
        left = Limits(cpu_s=self._cpu_end - child.cpu_s(), wall_s=self._wall_s)
        if left.cpu_s <= 0 or left.wall_s <= 0:  # a quick answer is one too many then
            return self._cell.refuse(verdicts.TIMEOUT_DETAIL, verdicts.TIMEOUT)
        answer = self._cell.ask(child, messages.Message("act", fields), "acted", limits=left)
        self._wall_s -= time.monotonic() - began
        if isinstance(answer, Failure):
            return answer
        num_bytes = 4 * math.prod(shape)
        if answer.fields.get("bytes") != num_bytes:
            return self._cell.refuse()
        return np.frombuffer(child.taken.memory[:num_bytes], dtype="<f4").reshape(shape)

    def close(self) -> None:
        if self._cell.child is self._child:
            self._ended(self._child)


def guarded(answer: Callable[[], Floats]) -> Floats | Failure:
    """Returns an answer, or the verdict on what was raised instead."""
    try:
        return answer()
    except verdicts.WrongOutput as error:
        return Failure(verdicts.OUTPUT, verdicts.one_line(str(error)))
    except Exception as error:  # noqa: BLE001 - the sandbox wall: whatever a candidate raises becomes its verdict
        return Failure(*verdicts.verdict_of_error(error))


def bytes_of_play(tile: Tile, shape: Sequence[int], num_lanes: int) -> tuple[int, int]:
    """Returns how large one step's observations and answers are. shape: of one observation."""
    rows = 4 * len(tile.tiers) * tile.rows.num_rows * num_lanes
    return rows * math.prod(shape), rows * tile.num_outputs
