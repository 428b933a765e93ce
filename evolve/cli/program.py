"""The program ``evolve`` from its first line to its exit code. Imports nothing heavy: a command does when it needs it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> None:
    """Runs the program with the arguments of this process and ends it with the exit code that says what came of it."""
    _leave_current_folder()
    try:
        call()
    except SystemExit as leaving:
        from evolve.ending import leave_given_up_threads

        leave_given_up_threads(leaving.code if isinstance(leaving.code, int) else 1)
        raise


def call() -> NoReturn:
    """Runs the program within a process that goes on; raises SystemExit with the exit code."""
    from evolve.cli.shared.streams import flushed, screens

    with screens():
        code = flushed(_run())
    sys.exit(code)


def _run() -> int:
    from evolve.cli import app
    from evolve.cli.shared import failure

    try:
        app.run_program()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except KeyboardInterrupt:
        return failure.INTERRUPTED
    except Exception as error:  # noqa: BLE001 -- the outermost wall: every exception becomes a message and an exit code
        return failure.report(error)
    return 0


def _leave_current_folder() -> None:
    """Takes the folder that Python itself put first, the current one or the script's, off the import path.

    A file there that is called like a module of ours, or of Python's, would be run in its place. Nothing but what Python has
    loaded already is imported before. The folder stays where the project lies in it: a source tree that is not installed.
    """
    first, own = sys.path[0], os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    try:
        here = os.getcwd()
    except OSError:  # it was removed meanwhile
        here = ""
    implied = {"", here, os.path.dirname(os.path.abspath(sys.argv[0])) if here else ""}
    if not sys.flags.safe_path and first in implied and (first or here) != own:
        del sys.path[0]
