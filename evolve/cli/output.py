"""What commands print: tables for people on standard output, JSON for scripts, notes on standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: How wide text is laid out where no terminal says it.
PLAIN_WIDTH = 140


def console(file: IO[str] | None = None) -> Console:
    """Returns a console on standard output, or on another stream."""
    from rich.console import Console

    stream = file or sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False, soft_wrap=False)


def show(*renderables: RenderableType) -> None:
    """Prints text, tables and trees on standard output; a text that says so is not broken into lines."""
    screen = console()
    for renderable in renderables:
        screen.print(renderable, crop=False, soft_wrap=bool(getattr(renderable, "no_wrap", False)))


def note(text: str) -> None:
    """Prints a line for people on standard error, so that results stay clean."""
    print(text, file=sys.stderr)


def show_json(value: Any) -> None:
    """Prints one JSON value on one line."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """Returns a value as JSON; what is not a number becomes null, bytes become hex, times ISO 8601."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


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


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = (), title: str = "") -> Any:
    """Returns a table; the columns in ``right`` hold numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for name in columns:
        made.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def pairs(facts: Iterable[tuple[str, str]]) -> Any:
    """Returns names and values, a line each."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in facts:
        made.add_row(name, Text(value))
    return made


def check_writable(path: Path, option: str) -> None:
    """Raises InputError where a file that an option names could not be made: a folder, or in a folder that is not there."""
    from population.errors import InputError

    if path.is_dir():
        raise InputError(f"{option} {path}: it is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.absolute().parent}; make it first")
