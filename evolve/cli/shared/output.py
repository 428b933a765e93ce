"""What commands print: tables for people on standard output, JSON for scripts, notes on standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from evolve.cli.shared.streams import refused, unfiltered
from evolve.display import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

#: How wide text is laid out where no terminal says it.
PLAIN_WIDTH = 140
LEAST_WIDTH = 20


def console(file: IO[str] | None = None) -> Console:
    """Returns a console on standard output, or on another stream."""
    from rich.console import Console

    stream = unfiltered(file or sys.stdout)
    width = None if stream.isatty() else _told_width()
    return Console(file=stream, width=width, highlight=False, emoji=False, markup=False, soft_wrap=False)


def _told_width() -> int:
    """Returns the width that COLUMNS tells, where it is one that text can be laid out in."""
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and len(told) < 6 and int(told) >= LEAST_WIDTH else PLAIN_WIDTH


class _Visible:
    """A renderable whose text is made visible when it is laid out, whoever made it."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for text, style, control in screen.render(self._inner, options):
            yield Segment(text if control else visible(text), style, control)


def show(*renderables: RenderableType, file: IO[str] | None = None) -> None:
    """Prints text, tables and trees on standard output, or on another stream; a text that says so is not broken into lines.
    Texts are no markup. What standard error refuses is lost."""
    screen = console(file)
    try:
        for renderable in renderables:
            is_whole = bool(getattr(renderable, "no_wrap", False))
            shown = visible(renderable) if isinstance(renderable, str) else renderable
            screen.print(_Visible(shown), crop=False, soft_wrap=is_whole)
    except BrokenPipeError:
        raise
    except OSError as error:
        if file is None:
            raise refused(error) from error


def say(text: object) -> None:
    """Prints a line on standard output."""
    print(visible(str(text)), flush=True)


def note(text: str) -> None:
    """Prints a line for people on standard error, so that results stay clean."""
    print(visible(text), file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """Prints one JSON value on one line."""
    print(json_line(value), flush=True)


def json_line(value: Any) -> str:
    """Returns a value as JSON, in characters that standard output has."""
    text = json_text(value)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def json_text(value: Any) -> str:
    """Returns a value as JSON; what is not a number becomes null, bytes become hex, times ISO 8601. What a terminal would obey
    stands there by its number."""
    return visible_json(json.dumps(plain(value), ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """Returns the value built of what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if value is None or isinstance(value, (str, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def check_writable(path: Path, option: str) -> None:
    """Raises InputError where a file that an option names could not be made: a folder, or in a folder that is not there."""
    from population.errors import InputError

    if path.is_dir():
        raise InputError(f"{option} {path}: it is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.absolute().parent}; make it first")
