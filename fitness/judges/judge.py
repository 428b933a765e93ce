"""Judges: they run candidates on a split's inputs and return raw outputs, or say why there are none. They see no labels.

Nouns: a *tile* is what is computed in one go, some rows of one species on all samples of a split; a *failure* is a
verdict about a whole tile; the *zygote* is the process that forks a jailed child in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fitness.judges.policies import Policies
from fitness.judges.policy_player import InlinePlayer, JailedPlayer, Player, bytes_of_play
from fitness.judges.tiles import Outputs, Samples, Tile, bytes_of, forward
from fitness.processes import messages, verdicts
from fitness.processes.isolation import IsolationReport
from fitness.processes.jailed_process import Cell, Meanwhile, nothing
from fitness.processes.limits import Failure, Limits
from fitness.processes.shared_memory import Region, size_of
from fitness.processes.zygote import Child, Zygote, ZygoteGone
from population.stacks.threads import single_threaded

__all__ = ["Failure", "InlineJudge", "Judge", "Limits", "SubprocessJudge"]

PROCESS = "fitness.judges.judge_process"
#: After so many tiles a child is replaced, and when it holds so much more memory than after its first.
TILES_PER_CHILD = 256
GROWTH_BYTES = 128 << 20


class Judge(Protocol):
    """Runs tiles. One thread at a time; outputs are a pure function of tile and inputs, whatever ran before.

    A failure says nothing about which row caused it, unless the tile has one row.
    """

    @property
    def level(self) -> str:
        """The isolation: "full", "reduced" or "none"."""

    def holds(self, key: bytes) -> bool:
        """Returns whether inputs were loaded under this key."""

    def load(self, key: bytes, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes the inputs (channel -> ``[R, *shape]``) that tiles refer to by ``key``."""

    def run(self, tile: Tile, *, fresh: bool = False, meanwhile: Meanwhile = nothing) -> Outputs | Failure:
        """Returns the outputs of a tile, one array ``[rows, K, R]`` a tier.

        Args:
            fresh: asks for a judge that has run nothing. meanwhile: something short to do here while the tile is computed.
        """

    def play(self, tile: Tile, channel: str, num_lanes: int, *, fresh: bool = False) -> Player | Failure:
        """Returns the rows of a tile as a player of so many lanes a row; until it is closed the judge does nothing else.

        Args:
            channel: the input channel that observations go to. fresh: as in ``run``.
        """

    def close(self) -> None:
        """Ends the judge and everything it started; closing twice changes nothing."""


class InlineJudge:
    """Judges in this very process: no isolation at all. A crash is yours, a hang is for ever."""

    level = "none"

    def __init__(self) -> None:
        self._samples: dict[bytes, Samples] = {}

    def holds(self, key: bytes) -> bool:
        return key in self._samples

    def load(self, key: bytes, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self._samples[key] = Samples(inputs)

    def run(self, tile: Tile, *, fresh: bool = False, meanwhile: Meanwhile = nothing) -> Outputs | Failure:
        meanwhile()
        with single_threaded():
            try:
                return forward(tile, self._samples[tile.key])
            except verdicts.WrongOutput as error:
                return Failure(verdicts.OUTPUT, verdicts.one_line(str(error)))
            except Exception as error:  # noqa: BLE001 - the sandbox wall: whatever a candidate raises becomes its verdict
                return Failure(*verdicts.verdict_of_error(error))

    def play(self, tile: Tile, channel: str, num_lanes: int, *, fresh: bool = False) -> Player | Failure:
        return InlinePlayer(Policies(tile, channel))

    def close(self) -> None:
        self._samples.clear()


class SubprocessJudge:
    """Judges in jailed processes, with limits on time and memory and with no labels in reach.

    A zygote, executed so that it shares no thread or lock with this process, forks a child that answers tile after tile.
    Inputs and candidates lie in memory that the child can only read, outputs in memory of a fixed size that is copied and
    checked. A child that fails is killed and replaced; so is one that ran an operation of a plugin, whose leftovers nobody
    can vouch for, one that has answered ``TILES_PER_CHILD`` tiles, and one that grew by ``GROWTH_BYTES``.

    Args:
        plugins: modules that register operations, imported by the zygote.
        without: layers of the jail not to put up, as on a machine that lacks them.
        begun: a zygote that ``fitness.processes.jailed_process.begin`` started for these plugins and limits, with all layers.
    """

    def __init__(
        self,
        *,
        plugins: Sequence[str] = (),
        limits: Limits | None = None,
        without: Sequence[str] = (),
        begun: Zygote | None = None,
    ) -> None:
        self.plugins, self.limits, self.without = tuple(plugins), limits or Limits(), tuple(without)
        self._inputs: dict[bytes, Mapping[str, npt.NDArray[Any]]] = {}
        start = {"plugins": list(self.plugins)}
        self._cell = Cell(PROCESS, start, self.limits, without=self.without, prepare=self._send_all_inputs, begun=begun)
        self._report: IsolationReport | None = None
        self._first_bytes = 0
        self._num_tiles = 0

    @property
    def report(self) -> IsolationReport:
        """What a child can still do on this machine, found by attacking from within once.

        Raises:
            EvaluatorFailed: no judge can be had.
        """
        if self._report is None:
            try:
                self._report = self._cell.report
            except ZygoteGone:
                self._cell.abandon()
                self._report = self._cell.report
        return self._report

    @property
    def level(self) -> str:
        return self.report.level

    def holds(self, key: bytes) -> bool:
        return key in self._inputs

    def load(self, key: bytes, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self._inputs[key] = inputs
        if self._cell.running is None:
            return
        try:
            self._cell.end_child()
            self._send_inputs(self._cell.running, key)
        except ZygoteGone:
            self._cell.abandon()  # the next one is given all inputs when it starts

    def run(self, tile: Tile, *, fresh: bool = False, meanwhile: Meanwhile = nothing) -> Outputs | Failure:
        try:
            return self._run(tile, fresh, meanwhile)
        except ZygoteGone:  # killed from outside: one new one, then it is the machine's fault
            self._cell.abandon()
            return self._run(tile, fresh, nothing)

    def play(self, tile: Tile, channel: str, num_lanes: int, *, fresh: bool = False) -> Player | Failure:
        try:
            return self._play(tile, channel, num_lanes, fresh)
        except ZygoteGone:
            self._cell.abandon()
            return self._play(tile, channel, num_lanes, fresh)

    def reap_dead(self) -> None:
        """Reaps a zygote that is dead; from any thread."""
        self._cell.reap_dead()

    def close(self) -> None:
        self._cell.abandon()
        self._inputs.clear()

    def _run(self, tile: Tile, fresh: bool, meanwhile: Meanwhile) -> Outputs | Failure:
        parts, shapes = tile.parts(), tile.output_shapes(_num_rows(self._inputs[tile.key]))
        num_bytes = sum(4 * math.prod(shape) for shape in shapes)
        child = self._cell.ready(size_of(parts), num_bytes, fresh=fresh or tile.has_plugins)
        fields = tile.to_fields(list(self._inputs).index(tile.key), child.given.fill(parts))
        answer = self._cell.ask(child, messages.Message("tile", fields), "outputs", meanwhile)
        if isinstance(answer, Failure):
            return answer
        if answer.fields.get("bytes") != num_bytes:
            return self._cell.refuse()
        outputs = _copied(child.taken, shapes)
        if tile.has_plugins or self._is_worn(child, tile):
            self._cell.end_child()
        return outputs

    def _play(self, tile: Tile, channel: str, num_lanes: int, fresh: bool) -> Player | Failure:
        parts = tile.parts()
        shape = next(tuple(found.shape) for found in tile.rows.graph.inputs if found.name == channel)
        seen_bytes, acted_bytes = bytes_of_play(tile, shape, num_lanes)
        child = self._cell.ready(max(size_of(parts), seen_bytes), acted_bytes, fresh=fresh or tile.has_plugins)
        fields = {**tile.to_fields(-1, child.given.fill(parts)), "channel": channel}
        answer = self._cell.ask(child, messages.Message("play", fields), "playing")
        if isinstance(answer, Failure):
            return answer
        is_worn = self._is_worn(child, tile)

        def ended(child: Child) -> None:
            if tile.has_plugins or is_worn or self._is_worn(child, tile):
                self._cell.end_child()

        return JailedPlayer(self._cell, child, tile, self.limits, ended)

    def _is_worn(self, child: Child, tile: Tile) -> bool:
        """Returns whether a child that answered has done its share, or holds on to memory."""
        held = child.private_bytes()
        if self._cell.answered == 1:
            self._first_bytes, self._num_tiles = held, 0
        self._num_tiles += math.ceil(tile.rows.num_rows / tile.plan.candidates)
        return self._num_tiles >= TILES_PER_CHILD or held - self._first_bytes >= GROWTH_BYTES

    def _send_all_inputs(self, zygote: Zygote) -> None:
        for key in self._inputs:
            self._send_inputs(zygote, key)

    def _send_inputs(self, zygote: Zygote, key: bytes) -> None:
        arrays = {name: np.ascontiguousarray(array) for name, array in self._inputs[key].items()}
        parts = [bytes_of(array) for array in arrays.values()]
        region = Region(size_of(parts), is_writable=False)
        offsets = region.fill(parts)
        channels = [
            [name, array.dtype.str, list(array.shape), offset]
            for (name, array), offset in zip(arrays.items(), offsets, strict=True)
        ]
        fields = {"number": list(self._inputs).index(key), "channels": channels, "size": region.size}
        try:
            zygote.call(messages.Message("inputs", fields), (region.descriptor,))
        finally:
            region.close()


def _copied(taken: Region, shapes: Sequence[tuple[int, ...]]) -> Outputs:
    """Returns a copy of what the child wrote, made before any of it is looked at."""
    outputs, position = [], 0
    for shape in shapes:
        size = 4 * math.prod(shape)
        data = taken.memory[position : position + size]
        outputs.append(np.frombuffer(data, dtype="<f4").reshape(shape))
        position += size
    return tuple(outputs)


def _num_rows(inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(inputs.values())))
