"""The zygote: a process that imports and warms torch once and forks jailed children that judge; run as ``python -m``.

It never sees a label. It ends when its control connection closes; its children end with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import torch

from fitness import verdict, wire
from fitness.forward import Samples, Tile, WrongOutput, forward
from fitness.jail.memory import map_shared
from fitness.jail.namespaces import fork_inside
from fitness.jail.trial import try_walls
from fitness.jail.walls import Walls, enter
from fitness.jail.warm import warm


def main() -> None:
    """Serves the control connection whose descriptor is the only argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    torch.set_num_threads(1)
    start = wire.receive(control)
    reason = _import_plugins(start.fields["plugins"])
    if reason:
        wire.send(control, wire.Message("failed", {"detail": reason}))
        return
    warm()
    gc.collect()
    gc.freeze()
    wire.send(control, wire.Message("ready", {}))
    with contextlib.suppress(wire.Closed):
        _Zygote(control, start.fields).serve()


class _Zygote:
    """Answers the parent's control messages: inputs, fork, reap, probe. One child at a time."""

    def __init__(self, control: socket.socket, fields: Mapping[str, Any]) -> None:
        self._control = control
        self._walls = Walls(
            memory_bytes=int(fields["memory_bytes"]), cpu_s=int(fields["cpu_s"]), without=tuple(fields["without"])
        )
        self._samples: dict[int, Samples] = {}
        self._child = 0

    def serve(self) -> None:
        """Answers until the parent is gone."""
        answers = {"inputs": self._inputs, "fork": self._fork, "reap": self._reap, "probe": self._probe}
        while True:
            try:
                message = wire.receive(self._control)
            except wire.Closed:
                if self._child:
                    self._kill_group()
                return
            wire.send(self._control, answers[message.kind](message))

    def _inputs(self, message: wire.Message) -> wire.Message:
        (descriptor,) = self._descriptors(1)
        memory = map_shared(descriptor, message.fields["size"], is_writable=False)
        os.close(descriptor)
        arrays = {
            name: _array(memory, dtype, shape, offset) for name, dtype, shape, offset in message.fields["channels"]
        }
        self._samples[message.fields["number"]] = Samples(arrays)
        return wire.Message("held", {})

    def _fork(self, message: wire.Message) -> wire.Message:
        connection, given, taken = self._descriptors(3)
        zygote, base_bytes = os.getpid(), _resident_bytes()
        birth = fork_inside(wanted="namespaces" not in self._walls.without)
        if birth.pid == 0:
            try:
                regions = (
                    map_shared(given, message.fields["given_bytes"], is_writable=False),
                    map_shared(taken, message.fields["taken_bytes"], is_writable=True),
                )
                channel = socket.socket(fileno=connection)  # asks the system what it is, which it may not later
                enter(Walls(**{**vars(self._walls), "keep_fds": (connection,)}), birth, zygote)
                _serve_tiles(channel, self._samples, *regions)
            except SystemExit as leaving:
                os._exit(leaving.code & 0xFF if isinstance(leaving.code, int) else 1)
            finally:
                os._exit(1)
        self._child = birth.pid
        for descriptor in (connection, given, taken):
            os.close(descriptor)
        return wire.Message("forked", {"base_bytes": base_bytes, "pid": birth.pid})

    def _reap(self, message: wire.Message) -> wire.Message:
        was_killed = not self._has_ended(message.fields["patience_s"])
        self._kill_group()
        _, status, usage = os.wait4(self._child, 0)
        self._child = 0
        fields = {"status": status, "max_rss_bytes": usage.ru_maxrss * 1024, "was_killed": was_killed}
        return wire.Message("reaped", fields)

    def _probe(self, message: wire.Message) -> wire.Message:
        return wire.Message("probed", try_walls(self._walls))

    def _has_ended(self, patience_s: float) -> bool:
        """Waits for the child's own end without reaping it; returns whether it came."""
        deadline = time.monotonic() + patience_s
        while os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        return True

    def _kill_group(self) -> None:
        """Kills the child, which is not reaped yet so that its pid is its own, and what it may have started."""
        for kill in (os.killpg, os.kill):  # one that has not made its own group yet is killed alone
            with contextlib.suppress(ProcessLookupError):
                kill(self._child, signal.SIGKILL)

    def _descriptors(self, count: int) -> list[int]:
        _, descriptors, _, _ = socket.recv_fds(self._control, 1, count)
        return descriptors


def _import_plugins(names: list[str]) -> str:
    """Imports the modules that register operations; returns why it failed, or nothing."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the parent turns it into an error that names it
            return verdict.one_line(f"plugin module {name!r}: {type(error).__name__}: {error}")
    return ""


def _serve_tiles(
    connection: socket.socket, samples: Mapping[int, Samples], given: mmap.mmap, taken: mmap.mmap
) -> NoReturn:
    """Answers tiles until the parent is gone; whatever a candidate raises becomes a message."""
    try:
        wire.send(connection, wire.Message("ready", {}))
        while True:
            message = wire.receive(connection)
            wire.send(connection, _answer(message, samples, given, taken))
    except wire.Closed:
        os._exit(0)


def _answer(message: wire.Message, samples: Mapping[int, Samples], given: mmap.mmap, taken: mmap.mmap) -> wire.Message:
    try:
        outputs = forward(Tile.from_memory(message.fields, given), samples[message.fields["inputs"]])
        position = 0
        for array in outputs:
            into = np.frombuffer(taken, dtype="<f4", count=array.size, offset=position)
            into[:] = array.reshape(-1)
            position += array.nbytes
    except WrongOutput as error:
        return wire.Message("failed", {"cause": verdict.OUTPUT, "detail": verdict.one_line(str(error))})
    except Exception as error:  # noqa: BLE001 - the sandbox wall: every exception becomes a result
        cause, detail = verdict.verdict_of_error(error)
        return wire.Message("failed", {"cause": cause, "detail": detail})
    return wire.Message("outputs", {"bytes": position})


def _array(memory: mmap.mmap, dtype: str, shape: list[int], offset: int) -> np.ndarray[Any, Any]:
    count = int(np.prod(shape))
    return np.frombuffer(memory, dtype=np.dtype(dtype), count=count, offset=offset).reshape(shape)


def _resident_bytes() -> int:
    """Returns the resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
