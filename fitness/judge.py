"""Judges: they run candidates on a split's inputs and return raw outputs, or say why there are none. They see no labels.

Nouns: a *tile* is what is computed in one go, some rows of one species on all samples of a split; a *failure* is a
verdict about a whole tile; the *zygote* is the process that forks a jailed child in milliseconds.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fitness import verdict, wire
from fitness.forward import Outputs, Samples, Tile, WrongOutput, bytes_of, forward, single_threaded
from fitness.jail.memory import Region, size_of
from fitness.jail.probe import Report, report_of
from fitness.jail.zygote import CONTROL_TIMEOUT_S, Child, End, Zygote, ZygoteGone
from population.errors import FormatError

MAX_ANSWER_HEADER_BYTES = 64 << 10
#: After so many tiles a child is replaced, and when it holds so much more memory than after its first.
TILES_PER_CHILD = 256
GROWTH_BYTES = 128 << 20
#: Shared memory of a child is at least so large; only what is touched takes space.
LEAST_REGION_BYTES = 8 << 20
#: How often CPU time is looked at near its limit, and how long an answer may take once it has begun.
CPU_STEP_S = 0.05
ANSWER_S = 5.0
#: A child whose connection closed is given so long to end, so that how it ended is its own doing.
DYING_S = 2.0


@dataclass(frozen=True)
class Limits:
    """What one tile may use. CPU time is the limit meant; the wall clock is generous, so that a busy machine fails nobody.

    Attributes:
        memory_bytes: address space beyond what the judge needs itself.
    """

    cpu_s: int = 60
    wall_s: float = 180.0
    memory_bytes: int = 2 << 30

    @staticmethod
    def of(seconds: float, memory_mib: int) -> Limits:
        """Returns limits for so many seconds of work, three times that by the wall clock."""
        return Limits(max(math.ceil(seconds), 1), 3.0 * seconds, memory_mib << 20)


@dataclass(frozen=True)
class Failure:
    """Why a tile has no outputs: a cause of ``fitness.verdict`` and one line.

    Attributes:
        is_doubtful: its process was killed, by nobody of ours and far from its budget: perhaps not the candidate's doing.
    """

    cause: str
    detail: str
    is_doubtful: bool = field(default=False, compare=False)


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

    def run(self, tile: Tile, *, fresh: bool = False) -> Outputs | Failure:
        """Returns the outputs of a tile, one array ``[rows, K, R]`` a tier; ``fresh`` asks for a judge that has run nothing."""

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

    def run(self, tile: Tile, *, fresh: bool = False) -> Outputs | Failure:
        with single_threaded():
            try:
                return forward(tile, self._samples[tile.key])
            except WrongOutput as error:
                return Failure(verdict.OUTPUT, verdict.one_line(str(error)))
            except Exception as error:  # noqa: BLE001 - the sandbox wall: whatever a candidate raises becomes its verdict
                return Failure(*verdict.verdict_of_error(error))

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
    """

    def __init__(
        self, *, plugins: Sequence[str] = (), limits: Limits | None = None, without: Sequence[str] = ()
    ) -> None:
        self._plugins = tuple(plugins)
        self._limits = limits or Limits()
        self._without = tuple(without)
        self._inputs: dict[bytes, Mapping[str, npt.NDArray[Any]]] = {}
        self._zygote: Zygote | None = None
        self._child: Child | None = None
        self._report: Report | None = None
        self._answered = 0
        self._first_bytes = 0

    @property
    def report(self) -> Report:
        """What a child can still do on this machine, found by attacking from within once.

        Raises:
            EvaluatorFailed: no judge can be had.
        """
        if self._report is None:
            try:
                self._report = self._examine()
            except ZygoteGone:
                self._abandon()
                self._report = self._examine()
        return self._report

    @property
    def level(self) -> str:
        return self.report.level

    def holds(self, key: bytes) -> bool:
        return key in self._inputs

    def load(self, key: bytes, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self._inputs[key] = inputs
        if self._zygote is None:
            return
        try:
            self._end_child()
            self._send_inputs(self._zygote, key)
        except ZygoteGone:
            self._abandon()  # the next one is given all inputs when it starts

    def run(self, tile: Tile, *, fresh: bool = False) -> Outputs | Failure:
        try:
            return self._run(tile, fresh)
        except ZygoteGone:  # killed from outside: one new one, then it is the machine's fault
            self._abandon()
            return self._run(tile, fresh)

    def close(self) -> None:
        self._abandon()
        self._inputs.clear()

    def _examine(self) -> Report:
        zygote = self._ready_zygote()
        self._end_child()
        return report_of(zygote.call(wire.Message("probe", {})).fields)

    def _run(self, tile: Tile, fresh: bool) -> Outputs | Failure:
        parts, shapes = tile.parts(), tile.output_shapes(_num_rows(self._inputs[tile.key]))
        sizes = size_of(parts), sum(4 * math.prod(shape) for shape in shapes)
        child = self._ready_child(sizes, fresh or tile.has_plugins)
        answer = self._ask(child, tile, parts, shapes)
        if isinstance(answer, Failure) or tile.has_plugins or self._is_worn(child):
            self._end_child()
        return answer

    def _is_worn(self, child: Child) -> bool:
        """Returns whether a child that answered has done its share, or holds on to memory."""
        self._answered += 1
        held = child.private_bytes()
        if self._answered == 1:
            self._first_bytes = held
        return self._answered >= TILES_PER_CHILD or held - self._first_bytes >= GROWTH_BYTES

    def _abandon(self) -> None:
        """Ends the processes and keeps the inputs for the next ones."""
        if self._child is not None:
            self._child.close()
            self._child = None
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def _ask(
        self, child: Child, tile: Tile, parts: Sequence[memoryview], shapes: Sequence[tuple[int, ...]]
    ) -> Outputs | Failure:
        deadline = time.monotonic() + self._limits.wall_s
        fields = tile.to_fields(list(self._inputs).index(tile.key), child.given.fill(parts))
        try:
            wire.send(child.connection, wire.Message("tile", fields), deadline)
            answer = self._await_answer(child, deadline)
        except wire.DeadlinePassed:
            return self._post_mortem(timed_out=True)
        except wire.Closed:  # one that hangs up and lives on gains no time by it
            return self._post_mortem(timed_out=False, patience_s=min(DYING_S, max(deadline - time.monotonic(), 0.0)))
        except FormatError as error:
            self._end_child()
            return Failure(verdict.OUTPUT, verdict.one_line(f"answered with something else than outputs: {error}"))
        if answer.kind == "outputs" and answer.fields.get("bytes") == sum(4 * math.prod(shape) for shape in shapes):
            return _copied(child.taken, shapes)
        return self._reported_failure(answer.fields)

    def _await_answer(self, child: Child, deadline: float) -> wire.Message:
        """Returns the child's answer; CPU time is watched from here, since a child could lift a limit of its own."""
        allowed = child.cpu_s() + self._limits.cpu_s
        while True:
            remaining = max(allowed - child.cpu_s(), CPU_STEP_S)
            if wire.is_readable(child.connection, min(deadline, time.monotonic() + remaining)):
                break
            if time.monotonic() >= deadline or child.cpu_s() >= allowed:
                raise wire.DeadlinePassed
        # one that began to answer has little left to do; a flood or a trickle ends at the caps or here
        soon = min(deadline, time.monotonic() + ANSWER_S)
        return wire.receive(child.connection, soon, max_header_bytes=MAX_ANSWER_HEADER_BYTES, max_blob_bytes=0)

    def _reported_failure(self, fields: Mapping[str, Any]) -> Failure:
        """Returns what the child says of itself, unless it had filled its memory before."""
        cause, detail = fields.get("cause"), fields.get("detail")
        if cause not in (verdict.CRASH, verdict.MEMORY, verdict.OUTPUT) or not isinstance(detail, str):
            self._end_child()
            return Failure(verdict.OUTPUT, "answered with something else than outputs")
        if self._end_child().used_bytes >= self._limits.memory_bytes // 2:
            return Failure(verdict.MEMORY, verdict.MEMORY_DETAIL)
        return Failure(cause, verdict.one_line(detail))

    def _post_mortem(self, *, timed_out: bool, patience_s: float = 0.0) -> Failure:
        end = self._end_child(patience_s)
        if end.was_killed and not timed_out:
            return Failure(verdict.CRASH, "closed its connection")
        budget_bytes = self._limits.memory_bytes
        cause, detail = verdict.verdict_of_death(
            end.status, timed_out=timed_out, used_bytes=end.used_bytes, budget_bytes=budget_bytes
        )
        was_shot = not timed_out and end.status & 0x7F == signal.SIGKILL and end.used_bytes < budget_bytes // 2
        return Failure(cause, detail, is_doubtful=was_shot)

    def _end_child(self, patience_s: float = 0.0) -> End:
        child, self._child = self._child, None
        if child is None or self._zygote is None:
            return End(0, 0, False)
        return self._zygote.reap(child, patience_s)

    def _ready_child(self, sizes: tuple[int, int], fresh: bool) -> Child:
        """Returns a child whose regions hold so many bytes, in and out."""
        child = self._child
        if child is not None and (fresh or child.given.size < sizes[0] or child.taken.size < sizes[1]):
            self._end_child()
        if self._child is None:
            zygote = self._ready_zygote()
            given = Region(max(2 * sizes[0], LEAST_REGION_BYTES), is_writable=False)
            taken = Region(max(2 * sizes[1], LEAST_REGION_BYTES), is_writable=True)
            self._child = zygote.fork(given, taken)
            self._answered = 0
            self._await_walls(self._child)
        return self._child

    def _await_walls(self, child: Child) -> None:
        try:
            wire.receive(child.connection, time.monotonic() + CONTROL_TIMEOUT_S, max_blob_bytes=0)
        except (wire.Closed, wire.DeadlinePassed, FormatError) as error:
            raise ZygoteGone(f"a judging process died before its first tile: {error}") from error

    def _ready_zygote(self) -> Zygote:
        if self._zygote is None:
            limits = {"memory_bytes": self._limits.memory_bytes, "cpu_s": self._limits.cpu_s * TILES_PER_CHILD}
            start = {"plugins": list(self._plugins), "without": list(self._without), **limits}
            self._zygote = Zygote(start)
            for key in self._inputs:
                self._send_inputs(self._zygote, key)
        return self._zygote

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
            zygote.call(wire.Message("inputs", fields), (region.descriptor,))
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
