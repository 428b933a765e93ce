"""How the program ends where a thread of its own cannot be ended first.

A tracker that hangs is waited for only so long; its thread is a daemon and may be anywhere, also within a library's C++.
Python up to 3.13 ends such a thread when it takes itself down, in the midst of what it does, and where that is C++ the
whole process aborts (``terminate called without an active exception``, exit code 134).
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress


def leave_given_up_threads(code: int) -> None:
    """Ends the process at once, with this exit code, where a thread was given up and lives; otherwise does nothing.

    All that is owed at an end is done before: what was registered for it, and what the standard streams hold.
    """
    outbox = sys.modules.get("evolve.outbox")
    if outbox is None or not any(thread.is_alive() for thread in outbox.given_up):
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself calls; it has no public name
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)
