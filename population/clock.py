"""Time, passed in: the one place that asks the machine what time it is.

Nouns: clock.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time to whoever is handed it.

    Obligations: both methods may be called from any thread and never fail; `monotonic` never goes back; `now` may jump,
    so nothing is decided by it (DESIGN.md: what a clock decides is an event in the lineage).
    """

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment in the past, the same one for the life of the clock."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to advance: for tests and simulation.

    >>> clock = ManualClock(now_s=100.0)
    >>> clock.advance(2.5)
    >>> clock.now(), clock.monotonic()
    (102.5, 2.5)
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s
        self._elapsed_s = 0.0

    def now(self) -> float:
        return self._now_s

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Moves both times forward.

        Raises: ValueError when `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock advances by 0 or more seconds, not {seconds}; use jump to set the date")
        self._elapsed_s += seconds
        self._now_s += seconds

    def jump(self, now_s: float) -> None:
        """Sets the date as an administrator would, backwards too; the monotonic time stays."""
        self._now_s = now_s
