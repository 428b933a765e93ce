"""What one query may cost: time, memory, rows. Plain values, so that a caller needs no database to name them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from population.errors import InputError

#: The longest SQL text that is parsed.
MAX_SQL_BYTES = 1 << 20
MAX_MEMORY_BYTES = 1 << 50
MAX_TIMEOUT_S = 1e8
MAX_ROWS = 2**62
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class QueryLimits:
    """Bounds of one query; beyond them it ends with InputError.

    Attributes:
        timeout_s: wall-clock seconds, from the moment the views are there.
        memory: ``"256MB"``, ``"1GiB"``: what the query may take beyond what its process has when it begins.
        rows: rows it may yield. threads: threads it may use.
    """

    timeout_s: float = 60.0
    memory: str = "1GiB"
    rows: int = 1_000_000
    threads: int = 1

    def __post_init__(self) -> None:
        """Raises InputError where time or rows are no bound."""
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise InputError(f"timeout {self.timeout_s!r}: write seconds, up to {MAX_TIMEOUT_S:,.0f}")
        if not 0 <= self.rows <= MAX_ROWS:
            raise InputError(f"rows {self.rows if abs(self.rows) < MAX_ROWS else '...'}: write a count below 2**62")

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes. Raises InputError where the text is no size."""
        found = _SIZE.fullmatch(self.memory)
        if not found:
            raise InputError(f"memory {self.memory!r}: write a size such as 256MB or 1GiB")
        number, power, binary = found.groups()
        size = float(number) * (1024 if binary else 1000) ** _POWERS[power.lower()]
        if not 1 <= size <= MAX_MEMORY_BYTES:
            raise InputError(f"memory {self.memory[:40]!r}: write a size from 1 byte to 1024TiB, such as 1GiB")
        return int(size)


def check_text(sql: str) -> None:
    """Raises InputError where the SQL is no text, or too much of it."""
    try:
        size = len(sql.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"query: the SQL is not valid UTF-8 at character {error.start + 1}") from error
    if size > MAX_SQL_BYTES:
        raise InputError(f"query: {size:,} bytes of SQL; at most {MAX_SQL_BYTES:,} are read")
    if "\0" in sql:
        raise InputError(f"query: the SQL holds a zero character, at {sql.index(chr(0)) + 1}")
