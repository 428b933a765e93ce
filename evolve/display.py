"""Numbers, ids, times and tables as people read them. Nothing here is read back by a machine, but for short ids.

Nouns: *short id*, the first characters of a block's or an individual's id, which every command takes in its place.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SHORT = 12
#: What a terminal obeys or does not show: controls but for line feeds and tabs, marks that turn the order of letters, letters
#: without width, halves of characters.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""Returns a text in which what a terminal would obey is written as in Python's source.

    >>> visible("a" + chr(27) + "[31m" + chr(0x202E)), visible("two" + chr(10) + "lines")
    ('a\\x1b[31m\\u202e', 'two\nlines')
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    r"""Returns JSON in which what a terminal would obey is written by its number: the same value.

    >>> visible_json('["' + chr(0x9B) + chr(0xE0001) + '"]')
    '["\\u009b\\udb40\\udc01"]'
    """
    return _OBEYED.sub(lambda found: json.dumps(found[0])[1:-1], text)


def in_line(text: str) -> str:
    r"""Returns a text as ``visible`` does, and in one line.

    >>> in_line("two" + chr(10) + "lines" + chr(9))
    'two\\nlines\\t'
    """
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def short_id(text: str | None) -> str:
    """Returns the first characters of an id, enough to be typed back.

    >>> short_id("bafyr4ihzwcbbsqu7aaa")
    'bafyr4ihzwcb'
    """
    return (text or "-")[:SHORT]


def number(value: float | None) -> str:
    """Returns a number with three or four digits that matter; whole numbers up to a million in full.

    >>> number(0.97222), number(1234567.0), number(180298), number(float("nan")), number(0.00001234)
    ('0.9722', '1.23 M', '180,298', '-', '1.23e-05')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) >= 1e6:
        return count(value)
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1e-3 else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def count(value: float) -> str:
    """Returns a large count with a unit: thousand, million, and so on.

    >>> count(950), count(73_912), count(4.2e9)
    ('950', '73.9 k', '4.2 G')
    """
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f}"


def size(num_bytes: float) -> str:
    """Returns bytes in binary units.

    >>> size(512), size(73_912)
    ('512 B', '72.2 KiB')
    """
    for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def duration(seconds: float) -> str:
    """Returns a span of time.

    >>> duration(0.0123), duration(3.21), duration(71), duration(7384)
    ('12 ms', '3.2 s', '1 min 11 s', '2 h 3 min')
    """
    if round(seconds * 1000) < 1000:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def thinned(points: Sequence[Any], most: int) -> list[Any]:
    """Returns at most so many of the points (two at least), the first and the last among them, evenly chosen.

    >>> thinned(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def path(place: Path | str) -> str:
    """Returns a path as one would type it from here: relative where it lies below this folder."""
    full = Path(place).absolute()
    here = Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)


def program() -> str:
    """Returns what to type for this program in this shell: its name where that is found, else the path it was started by."""
    started = Path(sys.argv[0])
    if started.name != "evolve":
        return f"{path(sys.executable)} -m evolve"
    found = shutil.which("evolve")
    if found and started.exists() and os.path.samefile(found, started):
        return "evolve"
    return path(started) if started.exists() else "evolve"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]] = (), right: Sequence[str] = (), title: str = ""
) -> Any:
    """Returns a table; the columns in ``right`` hold numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for name in columns:
        made.add_column(Text(in_line(name)), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(visible(cell)) for cell in row))
    return made


def pairs(facts: Iterable[tuple[str, str]]) -> Any:
    """Returns names and values, a line each."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in facts:
        made.add_row(Text(in_line(name)), Text(visible(value)))
    return made
