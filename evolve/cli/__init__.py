"""The program ``evolve``: parses, checks, calls, prints. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the program with the arguments of this process and ends it with the exit code that says what came of it."""
    from evolve.cli.streams import flushed, screens

    with screens():
        code = flushed(_run())
    sys.exit(code)


def _run() -> int:
    from evolve.cli import app, failure

    try:
        app.run_program()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 -- the outermost wall: every exception becomes a message and an exit code
        return failure.report(error)
    return 0
