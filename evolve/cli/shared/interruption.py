"""Ctrl-C and SIGTERM while a campaign runs: the first asks it to end after its step, the second ends it at once.

Nouns: *interruption*.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FIRST = (
    b"\ninterrupted: ending after this step, so that nothing is lost. Once more ends at once; "
    b"resume then does the step again\n"
)


class Interruption:
    """While entered, turns signals into an event; use it as a context manager, in the main thread.

    Libraries that start processes put handlers of their own in place; ``hold`` takes them back, and may be called often.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.hold()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """Puts our handlers in place where others have taken it."""
        for number in SIGNALS:
            if signal.getsignal(number) != self._arrived:
                signal.signal(number, self._arrived)

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            # Whoever was interrupted may hold the event's lock, or be in the midst of writing to the same stream.
            _thread.start_new_thread(self.event.set, ())
            with suppress(OSError):
                os.write(2, FIRST)
        elif self._count == 2:
            raise KeyboardInterrupt
        else:
            os._exit(130)
