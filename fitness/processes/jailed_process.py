"""A cell: a jailed process that answers, with limits on time and memory; replaced when it fails, by a fork of its zygote.

What is asked lies in memory that the process can only read, what it answers in memory of a fixed size that the caller
checks. Judges, makers of children, scorers and environments are cells of different programs.

Nouns: *cell*, *child* (the process in it), *zygote* (the process that forks a child in milliseconds).
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fitness.processes import messages, verdicts
from fitness.processes.isolation import IsolationReport, report_of
from fitness.processes.limits import Failure, Limits
from fitness.processes.shared_memory import Region, size_of
from fitness.processes.zygote import CONTROL_TIMEOUT_S, Child, End, Zygote, ZygoteGone, unavailable
from population.errors import FormatError

MAX_ANSWER_HEADER_BYTES = 64 << 10
#: After so many answers a child is replaced.
ANSWERS_PER_CHILD = 256
#: Shared memory of a child is at least so large; only what is touched takes space.
LEAST_REGION_BYTES = 8 << 20
#: How often CPU time is looked at near its limit, and how long an answer may take once it has begun.
CPU_STEP_S = 0.05
ANSWER_S = 5.0
#: A child whose connection closed is given so long to end, so that how it ended is its own doing.
DYING_S = 2.0
Meanwhile = Callable[[], object]
_NO_ANSWER = "answered with something else than was asked for"


def begin(process: str, start: Mapping[str, Any], limits: Limits) -> Zygote:
    """Returns a zygote that starts while its caller does something else; a cell of the same arguments takes it over.

    Raises:
        EvaluatorFailed: no process can be had.
    """
    return Zygote(_told(start, limits, ()), (), process)


def _told(start: Mapping[str, Any], limits: Limits, without: Sequence[str]) -> dict[str, Any]:
    """Returns what a zygote is told at its start."""
    walls = {"memory_bytes": limits.memory_bytes, "cpu_s": limits.cpu_s * ANSWERS_PER_CHILD}
    return {**start, "without": list(without), **walls}


def nothing() -> None:
    """Does nothing while an answer is waited for."""


class Cell:
    """One jailed child at a time. One thread at a time; whoever starts it closes it.

    Args:
        process: the module that the zygote runs. start, blobs: what it is told at its start.
        without: layers of the jail not to put up, as on a machine that lacks them.
        prepare: called with every new zygote before it forks. begun: a zygote that ``begin`` has started for it.
    """

    def __init__(
        self,
        process: str,
        start: Mapping[str, Any],
        limits: Limits,
        *,
        blobs: Sequence[bytes] = (),
        without: Sequence[str] = (),
        prepare: Callable[[Zygote], None] = lambda zygote: None,
        begun: Zygote | None = None,
    ) -> None:
        self._process, self._blobs = process, tuple(blobs)
        self._start = _told(start, limits, without)
        self._limits, self._prepare, self._begun = limits, prepare, begun
        self.running: Zygote | None = None
        self.child: Child | None = None
        self.answered = 0

    def zygote(self) -> Zygote:
        """Returns the zygote, started if need be. Raises: EvaluatorFailed."""
        if self.running is None:
            begun, self._begun = self._begun or Zygote(self._start, self._blobs, self._process), None
            begun.await_ready()
            self.running = begun
            self._prepare(begun)
        return self.running

    @property
    def report(self) -> IsolationReport:
        """What a child can still do on this machine, found by attacking from within; a child at work is ended.

        Raises: EvaluatorFailed.
        """
        zygote = self.zygote()
        self.end_child()
        return report_of(zygote.call(messages.Message("probe", {})).fields)

    def ready(self, given_bytes: int, taken_bytes: int, *, fresh: bool = False) -> Child:
        """Returns a child whose regions hold so many bytes, in and out; ``fresh``: one that has answered nothing.

        Raises:
            EvaluatorFailed: none can be had.
        """
        child = self.child
        if child is not None and (fresh or child.given.size < given_bytes or child.taken.size < taken_bytes):
            self.end_child()
        if self.child is None:
            zygote = self.zygote()
            with contextlib.ExitStack() as stack:
                given = Region(max(2 * given_bytes, LEAST_REGION_BYTES), is_writable=False)
                stack.callback(given.close)
                taken = Region(max(2 * taken_bytes, LEAST_REGION_BYTES), is_writable=True)
                stack.callback(taken.close)
                self.child = zygote.fork(given, taken)
                stack.pop_all()
            self.answered = 0
            self._await_walls(self.child)
        return self.child

    def ask(
        self,
        child: Child,
        message: messages.Message,
        wanted: str,
        meanwhile: Meanwhile = nothing,
        limits: Limits | None = None,
    ) -> messages.Message | Failure:
        """Returns the child's answer, a message called ``wanted``; after a failure the child is gone.

        Args:
            meanwhile: something short to do here while the child is at work; the limits are not watched until it is done.
            limits: on time, for this answer; the cell's own where None.

        Raises:
            ZygoteGone: the zygote died: nothing the child did.
        """
        given = limits or self._limits
        deadline = time.monotonic() + given.wall_s
        try:
            allowed_s = child.cpu_s() + given.cpu_s
            messages.send(child.connection, message, deadline)
            if meanwhile is not nothing:
                self._while_it_works(meanwhile)
            answer = self._await_answer(child, deadline, allowed_s)
        except messages.DeadlinePassed:
            return self._post_mortem(timed_out=True)
        except messages.Closed:  # one that hangs up and lives on gains no time by it
            return self._post_mortem(timed_out=False, patience_s=min(DYING_S, max(deadline - time.monotonic(), 0.0)))
        except FormatError as error:
            return self.refuse(f"{_NO_ANSWER}: {error}")
        if answer.kind == wanted:
            self.answered += 1
            return answer
        return self._reported_failure(answer.fields)

    def ask_once(
        self, kind: str, fields: Mapping[str, Any], parts: Sequence[bytes | memoryview], taken_bytes: int, wanted: str
    ) -> messages.Message | Failure:
        """Asks a child that has answered at most ``ANSWERS_PER_CHILD`` times, with parts in memory: ``fields["offsets"]``.

        A zygote that was killed from outside is replaced once. Raises: EvaluatorFailed.
        """
        for is_last in (False, True):
            try:
                child = self.ready(size_of(parts), taken_bytes, fresh=self.answered >= ANSWERS_PER_CHILD)
                given = {**fields, "offsets": child.given.fill(parts)}
                return self.ask(child, messages.Message(kind, given), wanted)
            except ZygoteGone:
                self.abandon()
                if is_last:
                    raise
        raise AssertionError("one of two tries returns or raises")

    def refuse(self, detail: str = _NO_ANSWER, cause: str = verdicts.OUTPUT) -> Failure:
        """Ends a child whose answer is not believed; returns the verdict."""
        self.end_child()
        return Failure(cause, verdicts.one_line(detail))

    def end_child(self, patience_s: float = 0.0) -> End:
        """Ends the child, if there is one, and what it started; returns how it ended. Raises: ZygoteGone."""
        child, self.child = self.child, None
        if child is None or self.running is None:
            return End(0, 0, False)
        return self.running.reap(child, patience_s)

    def reap_dead(self) -> None:
        """Reaps a zygote that is dead; from any thread."""
        zygote = self.running
        if zygote is not None:
            zygote.reap_dead()

    def abandon(self) -> None:
        """Ends the processes; the next question starts new ones."""
        if self.child is not None:
            self.child.close()
            self.child = None
        for zygote in (self.running, self._begun):
            if zygote is not None:
                zygote.close()
        self.running = self._begun = None

    def _await_walls(self, child: Child) -> None:
        try:
            said = messages.receive(child.connection, time.monotonic() + CONTROL_TIMEOUT_S, max_blob_bytes=0)
        except (messages.Closed, messages.DeadlinePassed, FormatError) as error:
            raise ZygoteGone(f"a jailed process died before its first answer: {error}") from error
        if said.kind != "ready":
            self.end_child()
            raise unavailable(verdicts.one_line(str(said.fields.get("detail", "no reason given"))))

    def _while_it_works(self, meanwhile: Meanwhile) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.end_child)  # after an error its answer would be taken for that to the next question
            meanwhile()
            stack.pop_all()

    def _await_answer(self, child: Child, deadline: float, allowed_s: float) -> messages.Message:
        """Returns the child's answer; CPU time is watched from here, since a child could lift a limit of its own."""
        while True:
            remaining = max(allowed_s - child.cpu_s(), CPU_STEP_S)
            if messages.is_readable(child.connection, min(deadline, time.monotonic() + remaining)):
                break
            if time.monotonic() >= deadline or child.cpu_s() >= allowed_s:
                raise messages.DeadlinePassed
        # one that began to answer has little left to do; a flood or a trickle ends at the caps or here
        soon = min(deadline, time.monotonic() + ANSWER_S)
        return messages.receive(child.connection, soon, max_header_bytes=MAX_ANSWER_HEADER_BYTES, max_blob_bytes=0)

    def _reported_failure(self, fields: Mapping[str, Any]) -> Failure:
        """Returns what the child says of itself, unless it had filled its memory before."""
        cause, detail = fields.get("cause"), fields.get("detail")
        if cause not in (verdicts.CRASH, verdicts.MEMORY, verdicts.OUTPUT) or not isinstance(detail, str):
            return self.refuse()
        if self.end_child().used_bytes >= self._limits.memory_bytes // 2:
            return Failure(verdicts.MEMORY, verdicts.MEMORY_DETAIL)
        return Failure(cause, verdicts.one_line(detail))

    def _post_mortem(self, *, timed_out: bool, patience_s: float = 0.0) -> Failure:
        end = self.end_child(patience_s)
        if end.was_killed and not timed_out:
            return Failure(verdicts.CRASH, "closed its connection")
        budget_bytes = self._limits.memory_bytes
        cause, detail = verdicts.verdict_of_death(
            end.status, timed_out=timed_out, used_bytes=end.used_bytes, budget_bytes=budget_bytes
        )
        was_shot = not timed_out and end.status & 0x7F == signal.SIGKILL and end.used_bytes < budget_bytes // 2
        return Failure(cause, detail, is_doubtful=was_shot)
