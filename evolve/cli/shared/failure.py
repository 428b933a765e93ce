"""What a person reads when a command fails: one message with its remedy, and an exit code that scripts can tell apart."""

from __future__ import annotations

import tempfile
import traceback

from evolve.cli.shared.output import note

INTERRUPTED, FAULT_OF_OURS = 130, 70
#: DuckDB raises a RuntimeError with this text in place of KeyboardInterrupt.
_DUCKDB_INTERRUPTED = "Query interrupted"


def report(error: Exception) -> int:
    """Prints the message of an error on standard error and returns the exit code that it means."""
    from population.errors import EvolveError
    from population.files.os_errors import typed_anywhere

    if isinstance(error, RuntimeError) and str(error) == _DUCKDB_INTERRUPTED:
        return INTERRUPTED
    if isinstance(error, OSError):
        error = typed_anywhere(error) or error
    if isinstance(error, EvolveError):
        note(f"error: {error}")
        return error.exit_code
    note(f"error: this is a fault of evolve, not yours: {_in_one_line(error)}")
    note(f"The details are in {_write(error)}; please report them.")
    return FAULT_OF_OURS


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _write(error: Exception) -> str:
    """Returns where the traceback was written, or why it could not be."""
    lines = traceback.format_exception(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="evolve-fault-", suffix=".txt", delete=False
        ) as file:
            file.writelines(lines)
            return file.name
    except OSError as refused:
        return (
            f"no file ({refused.strerror}). It began at {lines[-2].strip() if len(lines) > 1 else 'an unknown place'}"
        )
