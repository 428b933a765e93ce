"""The judge's own process: a nursery that imports torch once and forks judging children; run as ``python -m``.

It never sees a label. It ends when its control connection closes; its children end with it. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import math
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

PR_SET_PDEATHSIG = 1
MAX_OPEN_FILES = 64


def main() -> None:
    """Serves the control connection whose descriptor is the only argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    torch.set_num_threads(1)
    start = wire.receive(control)
    reason = _import_plugins(start.fields["plugins"])
    if reason:
        wire.send(control, wire.Message("failed", {"detail": reason}))
        return
    gc.collect()
    gc.freeze()
    wire.send(control, wire.Message("ready", {}))
    _Nursery(control, start.fields).serve()


class _Nursery:
    """Answers the parent's control messages: inputs, fork, reap. One child at a time."""

    def __init__(self, control: socket.socket, limits: Mapping[str, Any]) -> None:
        self._control = control
        self._limits = limits
        self._samples: dict[int, Samples] = {}
        self._child = 0

    def serve(self) -> None:
        """Answers until the parent is gone."""
        while True:
            try:
                message = wire.receive(self._control)
            except wire.Closed:
                if self._child:
                    self._kill_group()
                return
            answer = {"inputs": self._inputs, "fork": self._fork, "reap": self._reap}[message.kind](message)
            wire.send(self._control, answer)

    def _inputs(self, message: wire.Message) -> wire.Message:
        arrays = {
            name: np.frombuffer(blob, dtype=np.dtype(dtype)).reshape(shape)
            for (name, dtype, shape), blob in zip(message.fields["channels"], message.blobs, strict=True)
        }
        self._samples[message.fields["number"]] = Samples(arrays)
        return wire.Message("held", {})

    def _fork(self, message: wire.Message) -> wire.Message:
        _, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        (descriptor,) = descriptors
        nursery = os.getpid()
        base_bytes = _memory_bytes(field=1)
        self._child = os.fork()
        if self._child == 0:
            self._control.close()
            _become_child(nursery, self._limits)
            _serve_tiles(socket.socket(fileno=descriptor), self._samples, int(self._limits["cpu_s"]))
        os.close(descriptor)
        return wire.Message("forked", {"base_bytes": base_bytes})

    def _reap(self, message: wire.Message) -> wire.Message:
        was_killed = not self._has_ended(message.fields["patience_s"])
        self._kill_group()
        _, status, usage = os.wait4(self._child, 0)
        self._child = 0
        fields = {"status": status, "max_rss_bytes": usage.ru_maxrss * 1024, "was_killed": was_killed}
        return wire.Message("reaped", fields)

    def _has_ended(self, patience_s: float) -> bool:
        """Waits for the child's own end without reaping it; returns whether it came."""
        deadline = time.monotonic() + patience_s
        while os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def _kill_group(self) -> None:
        """Kills the child, which is not reaped yet so that its pid is its own, and what it may have started."""
        for kill in (os.killpg, os.kill):  # one that has not made its own group yet is killed alone
            with contextlib.suppress(ProcessLookupError):
                kill(self._child, signal.SIGKILL)


def _import_plugins(names: list[str]) -> str:
    """Imports the modules that register operations; returns why it failed, or nothing."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the parent turns it into an error that names it
            return verdict.one_line(f"plugin module {name!r}: {type(error).__name__}: {error}")
    return ""


def _become_child(nursery: int, limits: Mapping[str, Any]) -> None:
    """Ties this process's life to the nursery's and lowers its limits for good."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != nursery:
        os._exit(1)
    os.setsid()
    address_space = _memory_bytes(field=0) + int(limits["memory_bytes"])
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))


def _serve_tiles(connection: socket.socket, samples: Mapping[int, Samples], cpu_s: int) -> NoReturn:
    """Answers tiles until the parent is gone; whatever a candidate raises becomes a message."""
    while True:
        try:
            message = wire.receive(connection)
            _arm_cpu_limit(cpu_s)
            wire.send(connection, _answer(message, samples))
        except wire.Closed:
            os._exit(0)


def _answer(message: wire.Message, samples: Mapping[int, Samples]) -> wire.Message:
    try:
        outputs = forward(Tile.from_message(message), samples[message.fields["inputs"]])
    except WrongOutput as error:
        return wire.Message("failed", {"cause": verdict.OUTPUT, "detail": verdict.one_line(str(error))})
    except Exception as error:  # noqa: BLE001 - the sandbox wall: every exception becomes a result
        cause, detail = verdict.verdict_of_error(error)
        return wire.Message("failed", {"cause": cause, "detail": detail})
    return wire.Message("outputs", {}, [array.tobytes() for array in outputs])


def _arm_cpu_limit(cpu_s: int) -> None:
    """Allows this process so many more seconds of CPU time; beyond them SIGXCPU ends it."""
    soft = math.ceil(time.process_time()) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _memory_bytes(field: int) -> int:
    """Returns the address space (field 0) or the resident memory (field 1) of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[field]) * resource.getpagesize()


if __name__ == "__main__":
    main()
