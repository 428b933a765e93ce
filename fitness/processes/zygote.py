"""The handle on a zygote: a process that has imported and warmed what candidates need, and forks jailed children.

The zygote is executed, not forked, so it shares no thread or lock with this process. It alone kills and reaps its child, so
that no process id is ever mistaken.

Nouns: *zygote*, *child* (one that it forked, in the jail), *end* (how a child ended).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitness.jail.walls import EXITING_SIGNALS
from fitness.processes import messages
from fitness.processes.child_process import end_process, python_command, start_process
from fitness.processes.shared_memory import Region
from population.errors import EvaluatorFailed, JailUnavailable

START_TIMEOUT_S = 120.0
CONTROL_TIMEOUT_S = 60.0
PROCESS = "fitness.judges.judge_process"


class ZygoteGone(EvaluatorFailed):
    """The zygote does not answer."""


@dataclass(frozen=True)
class Child:
    """A forked, jailed process.

    Attributes:
        base_bytes: the zygote's resident memory at its birth. born_bytes: what it held of its own then.
        given, taken: regions it reads and writes.
    """

    pid: int
    base_bytes: int
    born_bytes: int
    connection: socket.socket
    given: Region
    taken: Region

    def cpu_s(self) -> float:
        """Returns the CPU time it has used; 0 where the system does not tell."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)  # the kernel's clock of another process
        except OSError:
            return 0.0

    def private_bytes(self) -> int:
        """Returns the memory it holds and shares with nobody's file; 0 where the system does not tell."""
        return _private_bytes(self.pid)

    def close(self) -> None:
        """Gives up this side of what connects it."""
        self.connection.close()
        self.given.close()
        self.taken.close()


@dataclass(frozen=True)
class End:
    """How a child ended: as ``os.wait4`` says, with the memory it held beyond its birth, and whether it was ended."""

    status: int
    used_bytes: int
    was_killed: bool


class Zygote:
    """Starts a zygote and asks it, once it is ready. One thread at a time.

    Args:
        start, blobs: what it is told at its start; see ``fitness.processes.zygote_server``. process: the module that it runs.

    Raises:
        JailUnavailable: no process can be had. ZygoteGone: it died at once.
    """

    def __init__(self, start: Mapping[str, Any], blobs: Sequence[bytes] = (), process: str = PROCESS) -> None:
        self._control, theirs = _pair()
        with theirs:
            command = python_command("-m", process, str(theirs.fileno()))
            try:
                self._process = start_process(command, theirs.fileno())
            except OSError as error:
                self._control.close()
                raise unavailable(error) from error
        self._is_ready, self._deadline = False, time.monotonic() + START_TIMEOUT_S
        try:
            messages.send(self._control, messages.Message("start", start, blobs), self._deadline)
        except (messages.Closed, messages.DeadlinePassed) as error:
            self.close()
            raise ZygoteGone(f"the judge process does not answer (start): {error}") from error

    def await_ready(self) -> None:
        """Waits until it has prepared what it needs; what cannot is closed. Raises: ZygoteGone, JailUnavailable."""
        if self._is_ready:
            return
        try:
            answer = messages.receive(self._control, self._deadline)
        except (messages.Closed, messages.DeadlinePassed, OSError) as error:
            self.close()
            raise ZygoteGone(f"the judge process does not answer (start): {error}") from error
        if answer.kind != "ready":
            self.close()
            raise JailUnavailable(f"the jailed process cannot start: {answer.fields.get('detail', 'no reason given')}")
        self._is_ready = True

    @property
    def pid(self) -> int:
        """Returns its process id."""
        return self._process.pid

    def fork(self, given: Region, taken: Region) -> Child:
        """Forks a jailed child over these regions. Raises: ZygoteGone, JailUnavailable."""
        ours, theirs = _pair()
        with theirs:
            try:
                sizes = {"given_bytes": given.size, "taken_bytes": taken.size}
                answer = self.call(
                    messages.Message("fork", sizes), (theirs.fileno(), given.descriptor, taken.descriptor)
                )
            except EvaluatorFailed:
                ours.close()
                raise
        pid = int(answer.fields["pid"])
        return Child(pid, int(answer.fields["base_bytes"]), _private_bytes(pid), ours, given, taken)

    def reap(self, child: Child, patience_s: float = 0.0) -> End:
        """Waits for the child's own end, then kills it and what it started, and reaps it. Raises: ZygoteGone."""
        held_bytes = child.private_bytes() - child.born_bytes  # nothing where it is gone already
        child.close()
        fields = self.call(messages.Message("reap", {"patience_s": patience_s})).fields
        status = int(fields["status"])
        if status >> 8 in [int(number) for number in EXITING_SIGNALS]:
            status >>= 8  # it ended by exiting with the signal's number
        used_bytes = max(int(fields["max_rss_bytes"]) - child.base_bytes, held_bytes, 0)
        return End(status, used_bytes, bool(fields["was_killed"]))

    def call(
        self, message: messages.Message, descriptors: Sequence[int] = (), timeout_s: float = CONTROL_TIMEOUT_S
    ) -> messages.Message:
        """Sends a message, and descriptors after it; returns the answer.

        Raises:
            ZygoteGone: it does not answer. JailUnavailable: it says that the machine does not give what was asked for.
        """
        deadline = time.monotonic() + timeout_s
        try:
            messages.send(self._control, message, deadline)
            if descriptors:
                socket.send_fds(self._control, [b"f"], list(descriptors))
            answer = messages.receive(self._control, deadline)
        except (messages.Closed, messages.DeadlinePassed, OSError) as error:
            raise ZygoteGone(f"the judge process does not answer ({message.kind}): {error}") from error
        if answer.kind == "unavailable":
            raise unavailable(answer.fields.get("detail", "no reason given"))
        return answer

    def reap_dead(self) -> None:
        """Reaps the zygote where it is dead: one that was killed while nobody asks stays a zombie otherwise."""
        self._process.poll()

    def close(self) -> None:
        """Ends the zygote and what it forked; closing twice changes nothing."""
        self._control.close()
        if self._process.poll() is None:
            end_process(self._process)


def _pair() -> tuple[socket.socket, socket.socket]:
    try:
        return socket.socketpair()
    except OSError as error:
        raise unavailable(error) from error


def unavailable(reason: object) -> JailUnavailable:
    """Returns the error of a machine that gives no jailed process."""
    return JailUnavailable(
        f"a jailed process cannot be had ({reason}): raise the limits on processes and open files (ulimit -u, ulimit -n)"
    )


def _private_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            _, resident, shared, *_ = statm.read().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
