"""What every zygote does: import once, then fork jailed children that answer; run by the module of a role.

It ends when its control connection closes; its children end with it. What a role imports and prepares runs before any wall
stands, so it is trusted; what a child answers runs behind all of them.

Nouns: a *role* is what the children of a zygote are for: how they answer, and what the zygote is told besides.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fitness.jail.attacks import try_walls
from fitness.jail.namespaces import Birth, fork_inside
from fitness.jail.walls import Walls, enter
from fitness.processes import messages, verdicts
from fitness.processes.shared_memory import map_shared


class CannotStart(Exception):
    """What a zygote needs is not there; the text says why."""


@dataclass(frozen=True)
class Role:
    """What a zygote's children are for.

    Attributes:
        answer: ``(message, given memory, taken memory) -> answer``; whatever it raises becomes a failure.
        controls: more messages to the zygote itself, by kind: ``(message, control connection) -> answer``.
    """

    answer: Callable[[messages.Message, mmap.mmap, mmap.mmap], messages.Message]
    controls: Mapping[str, Callable[[messages.Message, socket.socket], messages.Message]] = field(default_factory=dict)


def serve(prepare: Callable[[messages.Message], Role]) -> None:
    """Serves the control connection whose descriptor is the only argument. ``prepare`` makes the role of a start message."""
    control = socket.socket(fileno=int(sys.argv[1]))
    start = messages.receive(control)
    try:
        role = prepare(start)
    except Exception as error:  # noqa: BLE001 - a module may raise anything; the parent turns it into an error that names it
        text = str(error) if isinstance(error, CannotStart) else f"{type(error).__name__}: {error}"
        messages.send(control, messages.Message("failed", {"detail": verdicts.one_line(text)}))
        return
    _shrink()
    messages.send(control, messages.Message("ready", {}))
    with contextlib.suppress(messages.Closed):
        _Zygote(control, start.fields, role).serve()


def import_all(names: Iterable[str]) -> None:
    """Imports modules. Raises: CannotStart, which names the module."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise CannotStart(f"plugin module {name!r}: {type(error).__name__}: {error}") from error


def import_named(path: str) -> Callable[..., Any]:
    """Returns what ``"module:function"`` names. Raises: CannotStart."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise CannotStart(f"cannot import {path!r}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise CannotStart(f"{path!r} must name a function, it is a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _shrink() -> None:
    """Gives up what preparing left behind: a fork copies a page table entry for every page that is held."""
    gc.collect()
    gc.freeze()  # what is collected later would touch, and so copy, every page with an object on it
    with contextlib.suppress(AttributeError):  # other C libraries have none
        ctypes.CDLL(None).malloc_trim(0)


class _Zygote:
    """Answers the parent's control messages: fork, reap, probe, and those of its role. One child at a time."""

    def __init__(self, control: socket.socket, fields: Mapping[str, Any], role: Role) -> None:
        self._control, self._role = control, role
        self._walls = Walls(
            memory_bytes=int(fields["memory_bytes"]), cpu_s=int(fields["cpu_s"]), without=tuple(fields["without"])
        )
        self._child = 0

    def serve(self) -> None:
        """Answers until the parent is gone."""
        while True:
            try:
                message = messages.receive(self._control)
            except messages.Closed:
                if self._child:
                    self._kill_group()
                return
            messages.send(self._control, self._answer(message))

    def _answer(self, message: messages.Message) -> messages.Message:
        """Answers one message; a refusal of the machine becomes an answer, and the zygote goes on."""
        ours = {"fork": self._fork, "reap": self._reap, "probe": self._probe}
        try:
            if message.kind in ours:
                return ours[message.kind](message)
            return self._role.controls[message.kind](message, self._control)
        except (OSError, MemoryError) as error:
            return _unborn(error)

    def _fork(self, message: messages.Message) -> messages.Message:
        passed = descriptors(self._control, 3)
        zygote, base_bytes = os.getpid(), _resident_bytes()
        try:
            birth = fork_inside(wanted="namespaces" not in self._walls.without)
            if birth.pid == 0:
                self._live(message, birth, zygote, passed)
        finally:
            for descriptor in passed:
                os.close(descriptor)
        self._child = birth.pid
        return messages.Message("forked", {"base_bytes": base_bytes, "pid": birth.pid})

    def _live(self, message: messages.Message, birth: Birth, zygote: int, passed: Sequence[int]) -> NoReturn:
        """The life of a child, from its birth to its end. A failure before its walls stand is sent to its parent."""
        try:
            connection, given, taken = passed
            channel = socket.socket(fileno=connection)  # asks the system what it is, which it may not later
            try:
                regions = (
                    map_shared(given, message.fields["given_bytes"], is_writable=False),
                    map_shared(taken, message.fields["taken_bytes"], is_writable=True),
                )
                enter(Walls(**{**vars(self._walls), "keep_fds": (connection,)}), birth, zygote)
            except Exception as error:  # noqa: BLE001 - sent to the parent: this process has no standard streams
                messages.send(channel, _unborn(error))
                os._exit(1)
            _serve_parent(channel, self._role, *regions)
        except SystemExit as leaving:
            os._exit(leaving.code & 0xFF if isinstance(leaving.code, int) else 1)
        finally:
            os._exit(1)

    def _reap(self, message: messages.Message) -> messages.Message:
        was_killed = not self._has_ended(message.fields["patience_s"])
        self._kill_group()
        _, status, usage = os.wait4(self._child, 0)
        self._child = 0
        fields = {"status": status, "max_rss_bytes": usage.ru_maxrss * 1024, "was_killed": was_killed}
        return messages.Message("reaped", fields)

    def _probe(self, message: messages.Message) -> messages.Message:
        return messages.Message("probed", try_walls(self._walls))

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


def descriptors(control: socket.socket, count: int) -> list[int]:
    """Returns the descriptors that follow a control message. Raises: OSError beyond this process's limit on open files."""
    _, found, _, _ = socket.recv_fds(control, 1, count)
    if len(found) < count:
        for descriptor in found:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return found


def _serve_parent(connection: socket.socket, role: Role, given: mmap.mmap, taken: mmap.mmap) -> NoReturn:
    """Answers until the parent is gone; whatever the role raises becomes a message."""
    try:
        messages.send(connection, messages.Message("ready", {}))
        while True:
            messages.send(connection, _answer(role, messages.receive(connection), given, taken))
    except messages.Closed:
        os._exit(0)


def _unborn(error: Exception) -> messages.Message:
    """Returns the answer where no child could be made."""
    return messages.Message("unavailable", {"detail": verdicts.one_line(f"{type(error).__name__}: {error}")})


def _answer(role: Role, message: messages.Message, given: mmap.mmap, taken: mmap.mmap) -> messages.Message:
    try:
        return role.answer(message, given, taken)
    except verdicts.WrongOutput as error:
        return messages.Message("failed", {"cause": verdicts.OUTPUT, "detail": verdicts.one_line(str(error))})
    except Exception as error:  # noqa: BLE001 - the sandbox wall: every exception becomes a result
        cause, detail = verdicts.verdict_of_error(error)
        return messages.Message("failed", {"cause": cause, "detail": detail})


def _resident_bytes() -> int:
    """Returns the resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
