"""Judges: they run candidates on a split's inputs and return raw outputs, or say why there are none. They see no labels.

Nouns: a *tile* is what is computed in one go, some rows of one species on all samples of a split; a *failure* is a
verdict about a whole tile; the *nursery* is the process that forks a judging child in milliseconds.
"""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fitness import verdict, wire
from fitness.child_process import end_process, start_process
from fitness.forward import Outputs, Samples, Tile, WrongOutput, forward, single_threaded
from population.errors import EvaluatorFailed, FormatError

START_TIMEOUT_S = 120.0
CONTROL_TIMEOUT_S = 60.0
MAX_ANSWER_HEADER_BYTES = 64 << 10
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
    """Why a tile has no outputs: a cause of ``fitness.verdict`` and one line."""

    cause: str
    detail: str


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


@dataclass(frozen=True)
class _Child:
    """A forked judging process; only its nursery kills and reaps it, so that no pid is ever mistaken."""

    base_bytes: int
    connection: socket.socket


@dataclass(frozen=True)
class _End:
    """How a child ended: as ``os.wait4`` says, with the memory it held beyond its birth, and whether we ended it."""

    status: int
    used_bytes: int
    was_killed: bool


class _NurseryGone(EvaluatorFailed):
    """The nursery does not answer."""


class SubprocessJudge:
    """Judges in another process with limits on time, memory, file sizes and cores, and with no labels in reach.

    The nursery is executed, not forked, so it shares no thread or lock with this process; it imports torch once and forks
    a child that answers tile after tile. A child that fails is killed with its group and replaced; so is one that ran an
    operation of a plugin, whose leftovers nobody can vouch for.

    Args:
        plugins: modules that register operations, imported by the nursery.
    """

    level = "reduced"

    def __init__(self, *, plugins: Sequence[str] = (), limits: Limits | None = None) -> None:
        self._plugins = tuple(plugins)
        self._limits = limits or Limits()
        self._inputs: dict[bytes, Mapping[str, npt.NDArray[Any]]] = {}
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._child: _Child | None = None

    def holds(self, key: bytes) -> bool:
        return key in self._inputs

    def load(self, key: bytes, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        self._inputs[key] = inputs
        if self._control is None:
            return
        try:
            self._end_child()
            self._send_inputs(self._control, key)
        except _NurseryGone:
            self._abandon()  # the next one is given all inputs when it starts

    def run(self, tile: Tile, *, fresh: bool = False) -> Outputs | Failure:
        try:
            return self._run(tile, fresh)
        except _NurseryGone:  # killed from outside: one new one, then it is the machine's fault
            self._abandon()
            return self._run(tile, fresh)

    def close(self) -> None:
        self._abandon()
        self._inputs.clear()

    def _run(self, tile: Tile, fresh: bool) -> Outputs | Failure:
        if fresh:
            self._end_child()
        child = self._ready_child()
        shapes = tile.output_shapes(_num_rows(self._inputs[tile.key]))
        answer = self._ask(child, tile, shapes)
        if isinstance(answer, Failure) or tile.has_plugins:
            self._end_child()
        return answer

    def _abandon(self) -> None:
        """Ends the processes and keeps the inputs for the next ones."""
        if self._child is not None:
            self._child.connection.close()
            self._child = None
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            end_process(self._nursery)
            self._nursery = None

    def _ask(self, child: _Child, tile: Tile, shapes: Sequence[tuple[int, ...]]) -> Outputs | Failure:
        deadline = time.monotonic() + self._limits.wall_s
        sizes = [4 * int(np.prod(shape)) for shape in shapes]
        try:
            wire.send(child.connection, tile.to_message(list(self._inputs).index(tile.key)), deadline)
            answer = wire.receive(
                child.connection, deadline, max_header_bytes=MAX_ANSWER_HEADER_BYTES, max_blob_bytes=sum(sizes)
            )
        except wire.DeadlinePassed:
            return self._post_mortem(timed_out=True)
        except wire.Closed:
            return self._post_mortem(timed_out=False)
        except FormatError as error:
            return Failure(verdict.OUTPUT, verdict.one_line(f"answered with something else than outputs: {error}"))
        if answer.kind == "outputs" and [len(blob) for blob in answer.blobs] == sizes:
            pairs = zip(answer.blobs, shapes, strict=True)
            return tuple(np.frombuffer(blob, dtype="<f4").reshape(shape) for blob, shape in pairs)
        return self._reported_failure(answer.fields)

    def _reported_failure(self, fields: Mapping[str, Any]) -> Failure:
        """Returns what the child says of itself, unless it had filled its memory before."""
        cause, detail = fields.get("cause"), fields.get("detail")
        if cause not in (verdict.CRASH, verdict.MEMORY, verdict.OUTPUT) or not isinstance(detail, str):
            return Failure(verdict.OUTPUT, "answered with something else than outputs")
        if self._end_child().used_bytes >= self._limits.memory_bytes // 2:
            return Failure(verdict.MEMORY, verdict.MEMORY_DETAIL)
        return Failure(cause, verdict.one_line(detail))

    def _post_mortem(self, *, timed_out: bool) -> Failure:
        end = self._end_child(patience_s=0.0 if timed_out else DYING_S)
        if end.was_killed and not timed_out:
            return Failure(verdict.CRASH, "closed its connection")
        return Failure(
            *verdict.verdict_of_death(
                end.status,
                timed_out=timed_out,
                used_bytes=end.used_bytes,
                budget_bytes=self._limits.memory_bytes,
            )
        )

    def _end_child(self, patience_s: float = 0.0) -> _End:
        """Has the nursery wait for the child's own end, then kill its group, and reap it."""
        child, self._child = self._child, None
        if child is None or self._control is None:
            return _End(0, 0, False)
        child.connection.close()
        answer = self._call(wire.Message("reap", {"patience_s": patience_s}))
        used_bytes = max(int(answer.fields["max_rss_bytes"]) - child.base_bytes, 0)
        return _End(int(answer.fields["status"]), used_bytes, bool(answer.fields["was_killed"]))

    def _ready_child(self) -> _Child:
        if self._control is None:
            self._start()
        if self._child is None:
            self._child = self._fork()
        return self._child

    def _fork(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                answer = self._call(wire.Message("fork", {}), theirs)
            except _NurseryGone:
                ours.close()
                raise
        return _Child(int(answer.fields["base_bytes"]), ours)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "fitness.judge_process", str(theirs.fileno())]
            self._nursery = start_process(command, theirs.fileno())
        self._control = ours
        limits = {"cpu_s": self._limits.cpu_s, "memory_bytes": self._limits.memory_bytes}
        answer = self._call(
            wire.Message("start", {"plugins": list(self._plugins), **limits}), timeout_s=START_TIMEOUT_S
        )
        if answer.kind != "ready":
            reason = answer.fields.get("detail", "no reason given")
            self._abandon()
            raise EvaluatorFailed(f"the judge process cannot start: {reason}")
        for key in self._inputs:
            self._send_inputs(ours, key)

    def _send_inputs(self, control: socket.socket, key: bytes) -> None:
        arrays = self._inputs[key]
        channels = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
        blobs = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
        self._call(wire.Message("inputs", {"number": list(self._inputs).index(key), "channels": channels}, blobs))

    def _call(
        self, message: wire.Message, passed: socket.socket | None = None, timeout_s: float = CONTROL_TIMEOUT_S
    ) -> wire.Message:
        """Sends a message, and a socket with it, to the nursery; returns its answer."""
        assert self._control is not None
        deadline = time.monotonic() + timeout_s
        try:
            wire.send(self._control, message, deadline)
            if passed is not None:
                socket.send_fds(self._control, [b"f"], [passed.fileno()])
            return wire.receive(self._control, deadline)
        except (wire.Closed, wire.DeadlinePassed, OSError) as error:
            raise _NurseryGone(f"the judge process does not answer ({message.kind}): {error}") from error


def _num_rows(inputs: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(inputs.values())))
