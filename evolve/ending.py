"""How the program ends while one of its threads hangs.

The program waits a limited time for a tracker that hangs. The tracker's thread is a daemon and may be inside a library's C++.
Python up to 3.13 ends such a thread when the interpreter shuts down. In C++ that aborts the whole process
(``terminate called without an active exception``, exit code 134).
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress


def leave_given_up_threads(code: int) -> None:
    """Ends the process at once, with this exit code, where a thread was given up and lives; otherwise does nothing.

    Exit functions run and the standard streams are flushed before.
    """
    outbox = sys.modules.get("evolve.tracking.outbox")
    if outbox is None or not any(thread.is_alive() for thread in outbox.given_up):
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself calls; it has no public name
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)
