"""Standard output and standard error as this program writes them; all output passes here.

Data (names, cells, messages of others) may hold control characters. They are written as in Python's source: a backslash and a
number. A closed stream is replaced by one that discards everything; a write that fails is an error in words.

Nouns: *screen* (a stream behind this wall).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, cast

from evolve.display import visible

if TYPE_CHECKING:
    from population.errors import StorageError

_READER_LEFT = 1


class Screen:
    """A text stream whose text is made visible before it is written; all else is the stream's own."""

    def __init__(self, stream: IO[str], *, must_arrive: bool) -> None:
        """must_arrive: what cannot be written is an error; else it is lost."""
        self.unfiltered = stream
        self._must_arrive = must_arrive

    def write(self, text: str) -> int:
        """Writes a text, made visible."""
        with self._refusals():
            self.unfiltered.write(visible(text))
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        with self._refusals():
            self.unfiltered.flush()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            if self._must_arrive:
                raise
        except OSError as error:
            if self._must_arrive:
                raise refused(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def refused(error: OSError) -> StorageError:
    """Returns what standard output refused, in words."""
    from population.errors import StorageError
    from population.files.os_errors import reason_of

    return StorageError(
        f"standard output cannot be written ({reason_of(error)}): send it elsewhere, or free some space"
    )


def unfiltered(stream: IO[str]) -> IO[str]:
    """Returns the stream behind a screen: for what writes a terminal's control sequences of its own."""
    return cast(IO[str], getattr(stream, "unfiltered", stream))


@contextmanager
def screens() -> Iterator[None]:
    """While it lasts, standard output and standard error are screens. A closed one is replaced by one that takes nothing:
    the next file that was opened would get its number."""
    for number in (0, 1, 2):
        _fill(number)
    before = sys.stdout, sys.stderr
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name) or os.fdopen(number, "w", closefd=False)
        with suppress(AttributeError, ValueError):  # a stream that is none of Python's own
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Screen(stream, must_arrive=number == 1))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = (
            old or unfiltered(new) for old, new in zip(before, (sys.stdout, sys.stderr), strict=True)
        )


def _fill(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


def flushed(code: int) -> int:
    """Hands on what is left of standard output and standard error; returns the exit code: the one given, or what it means
    that standard output refuses."""
    for stream, number in ((unfiltered(sys.stdout), 1), (unfiltered(sys.stderr), 2)):
        try:
            stream.flush()
        except OSError as error:
            _let_go(number)
            if number == 1 and not code:
                code = _meaning(error)
    return code


def _meaning(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):  # as `head` does, which has read enough
        return _READER_LEFT
    failed = refused(error)
    print(f"error: {failed}", file=sys.stderr)
    return failed.exit_code


def _let_go(number: int) -> None:
    """Points a stream that refuses at /dev/null, so that Python's own flush at exit does not fail."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)
