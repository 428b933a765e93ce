"""An outbox: notes that a thread of its own says to somebody slow, so that whoever writes them never waits.

What the other side does not take is tried again a few times, then given up and counted.

Nouns: *note* (one thing to be said), *outbox*.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from population.clock import Clock

#: Notes that can wait do so for so long that saying them takes this share of a core at most, within these bounds in seconds.
SHARE = 0.02
FLUSH_S, LONGEST_S = 1.0, 10.0
RETRY_S = 5.0
TRIES = 3
#: Threads that still ran when their outbox was closed, since the tracker hangs. See ``evolve.ending``.
given_up: list[threading.Thread] = []


@dataclass(frozen=True)
class Note:
    """One thing to be said.

    Attributes:
        say: is given the contents of this note, or of several in a row, in order; raises when they were not taken.
        content: what is said. can_wait: it may wait some seconds, to be said together with those that follow it.
        is_needed: what follows makes no sense without it, so it is tried as long as the outbox lives.
    """

    say: Callable[[Sequence[Any]], None]
    content: Any = None
    can_wait: bool = False
    is_needed: bool = False


class Outbox:
    """Says notes in their order, each once, on a daemon thread that begins with the first of them.

    ``put`` never waits and never raises; one thread at a time may call it and ``close``.

    Args:
        size: notes that may wait; what comes when it is full is lost.

    Attributes:
        lost: notes that were given up; reason: why the last of them was. Both are complete after ``close``.
        is_late: whether ``close`` ended before all was said.
    """

    def __init__(self, name: str, clock: Clock, size: int = 20_000) -> None:
        self.reason, self.is_late = "", False
        self._name, self._clock, self._size = name, clock, size
        self._queue: queue.Queue[Note | None] = queue.Queue(maxsize=size)
        self._thread: threading.Thread | None = None
        self._notes: deque[Note] = deque()
        self._tries, self._next_try, self._pause_s = 0, 0.0, FLUSH_S
        self._overflown, self._given_up = 0, 0

    @property
    def lost(self) -> int:
        return self._overflown + self._given_up

    def put(self, note: Note) -> None:
        """Adds a note."""
        if self._thread is None:
            # a daemon: somebody who hangs must not keep the program alive
            self._thread = threading.Thread(target=self._deliver, name=self._name, daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(note)
        except queue.Full:
            self._overflown, self.reason = self._overflown + 1, "too many notes at once"

    def close(self, timeout_s: float) -> None:
        """Says what can be said within the time; closing twice changes nothing, and a later ``put`` begins anew."""
        thread, deadline = self._thread, self._clock.monotonic() + timeout_s
        if thread is None:
            return
        self._thread = None
        try:
            self._queue.put(None, timeout=timeout_s)
            thread.join(max(deadline - self._clock.monotonic(), 0.0))
        except queue.Full:
            pass  # the tracker hangs and the queue is full
        self.is_late = thread.is_alive()
        if self.is_late:
            given_up.append(thread)

    def _deliver(self) -> None:
        """Runs on the thread. ``due`` is when something is to be said that is not said at once."""
        due = math.inf
        while True:
            try:
                note = self._queue.get(timeout=None if due == math.inf else max(due - self._clock.monotonic(), 0.01))
            except queue.Empty:
                due = self._flush()
                continue
            if note is None:
                self._flush(is_last=True)
                return
            self._add(note)
            due = min(due, self._clock.monotonic() + self._pause_s) if note.can_wait else self._flush()

    def _add(self, note: Note) -> None:
        if len(self._notes) >= self._size and note.can_wait:
            self._given_up += 1
        else:
            self._notes.append(note)

    def _flush(self, *, is_last: bool = False) -> float:
        """Says what waits; returns when to try again, infinity when nothing waits."""
        if not is_last and self._clock.monotonic() < self._next_try:
            return self._next_try
        while self._notes:
            together = self._leading()
            is_said = self._say(together)
            self._tries = 0 if is_said else self._tries + 1
            if not is_said and is_last:
                self._given_up += len(self._notes)
                self._notes.clear()
            elif not is_said and (self._tries < TRIES or together[0].is_needed):
                self._next_try = self._clock.monotonic() + RETRY_S
                return self._next_try
            else:
                self._given_up += 0 if is_said else len(together)
                self._tries = 0
                for _ in together:
                    self._notes.popleft()
        return math.inf

    def _leading(self) -> list[Note]:
        """Returns the first note, with those that are to be said together with it."""
        first = self._notes[0]
        if not first.can_wait:
            return [first]
        return list(takewhile(lambda note: note.can_wait and note.say == first.say, self._notes))

    def _say(self, notes: Sequence[Note]) -> bool:
        began = time.thread_time()
        try:
            notes[0].say([note.content for note in notes])
        except Exception as error:  # noqa: BLE001 - a wall: whatever fails on the other side costs notes, never the run
            self.reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return False
        if notes[0].can_wait:
            self._pause_s = min(max((time.thread_time() - began) / SHARE, FLUSH_S), LONGEST_S)
        return True
