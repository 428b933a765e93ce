"""How large a table may be, found by counting what its bytes hold before anything is made of them.

Nouns: none.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from population.errors import ConfigError, InputError
from population.files.user_file import Look

MAX_COLUMNS: Final = 65_536
MAX_ROWS: Final = 20_000_000
MAX_CELLS: Final = 200_000_000
#: A longer line is no CSV.
MAX_LINE_BYTES: Final = 16 << 20
_BEGINNINGS: Final = {"parquet": (b"PAR1", b"PARE"), "npz": (b"PK",), "npy": (b"\x93NUMPY",)}


def check_size(num_rows: int, num_columns: int) -> None:
    """Refuses a table beyond the limits. Raises: InputError."""
    if num_columns > MAX_COLUMNS:
        raise InputError(f"it has {num_columns:,} columns, at most {MAX_COLUMNS:,} are read")
    if num_rows > MAX_ROWS:
        raise InputError(f"it has more than {MAX_ROWS:,} rows: take a sample of them")
    if num_rows * num_columns > MAX_CELLS:
        raise InputError(
            f"it has {num_rows:,} rows of {num_columns:,} columns, more than {MAX_CELLS:,} cells: take a sample of rows, or "
            "leave columns out"
        )


def check_names(names: list[str]) -> None:
    """Refuses two columns of one name, and more than the limit. Raises: InputError."""
    if len(names) > MAX_COLUMNS:
        raise InputError(f"it has {len(names):,} columns, at most {MAX_COLUMNS:,} are read")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = [str(place) for place, name in enumerate(names, 1) if name == twice[0]]
        raise InputError(
            f"the column name {twice[0][:80]!r} stands at {' and '.join(places[:5])}: give every column a name of its own"
        )


def check_csv(data: bytes, delimiter: str) -> None:
    """Refuses a CSV beyond the limits: its lines and delimiters are counted, those in quotes too. Raises: InputError."""
    lines = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    check_size(lines, 1)
    if data.count(delimiter.encode()) + lines > MAX_CELLS:
        raise InputError(f"it has more than {MAX_CELLS:,} cells: take a sample of rows, or leave columns out")


def check_json(data: bytes) -> None:
    """Refuses rows of JSON beyond the limits: lists, mappings and values are counted. Raises: InputError."""
    if data.count(b"[") + data.count(b"{") > MAX_ROWS or data.count(b",") > MAX_CELLS:
        raise InputError(
            f"it holds more than {MAX_ROWS:,} lists and rows, or {MAX_CELLS:,} values: take a sample of rows, or write CSV or "
            "Parquet"
        )


def look_for(form: str, where: str, error: type[InputError] = ConfigError) -> Look | None:
    """Returns a check that stops the reading of a file in another format: it begins otherwise, or a line has no end."""
    if form == "csv":
        return _LinesEnd(where, error)
    beginnings = _BEGINNINGS.get(form)
    return None if beginnings is None else _Begins(where, error, form, beginnings)


class _LinesEnd:
    def __init__(self, where: str, error: type[InputError]) -> None:
        self._where, self._error, self._open_bytes = where, error, 0

    def __call__(self, piece: bytes) -> None:
        last = max(piece.rfind(b"\n"), piece.rfind(b"\r"))
        self._open_bytes = len(piece) - last - 1 if last >= 0 else self._open_bytes + len(piece)
        if self._open_bytes > MAX_LINE_BYTES:
            raise self._error(
                f"{self._where}: not readable as CSV: a line has no end within {MAX_LINE_BYTES:,} bytes: put an end of line "
                "behind every row"
            )


class _Begins:
    def __init__(self, where: str, error: type[InputError], form: str, beginnings: tuple[bytes, ...]) -> None:
        self._where, self._error, self._form, self._beginnings = where, error, form, beginnings
        self._is_first = True

    def __call__(self, piece: bytes) -> None:
        if self._is_first and not piece.startswith(self._beginnings):
            raise self._error(f"{self._where}: not readable as .{self._form}: it begins otherwise; check what it is")
        self._is_first = False
