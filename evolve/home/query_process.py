"""The process of one query: makes the views, goes behind the walls, and only then looks at the SQL; run as ``python -m``.

Two descriptors are its arguments: one gives the request (JSON, to its end), the other takes frames: a kind (one byte), a
length (8 bytes, little-endian), the bytes. Kinds: ``r`` the views are there and the walls stand (JSON: which), ``s`` a
piece of an Arrow IPC stream, ``e`` an error (JSON: type, message), ``d`` done. Linux; elsewhere fewer walls stand.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import stat
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from population.lineage.sql.limits import QueryLimits

FRAME = struct.Struct("<cQ")
READY, STREAM, ERROR, DONE = b"r", b"s", b"e", b"d"
#: The longest piece of a stream.
PIECE_BYTES = 1 << 20
#: The most characters of an error that are sent: six bytes each in JSON, they fit into one frame.
MAX_MESSAGE = 8_000
#: Files a query may have open: every segment of every view it reads.
_OPEN_FILES = 4096
#: Address space for what Arrow and DuckDB hold besides the rows of a query.
_SPARE_BYTES = 64 << 20


class _NoPandas:
    """Arrow imports pandas when it first meets a list, where it can: half a second that nothing here needs."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not used here", name=name)


def main() -> None:
    """Serves the one request."""
    source, sink = int(sys.argv[1]), int(sys.argv[2])
    sys.meta_path.insert(0, _NoPandas())
    try:
        with os.fdopen(source, "rb") as request:
            value = json.loads(request.read())
        _answer(value, sink)
    except Exception as error:  # noqa: BLE001 -- the wall of this process: every exception becomes a frame
        _send_error(sink, error)


def _answer(value: dict[str, Any], sink: int) -> None:
    from population.files.local_files import LocalFiles
    from population.lineage import LineageReader, QueryLimits
    from population.lineage.sql.connection import open_connection
    from population.lineage.sql.query import batches_of, told_in_words

    limits = QueryLimits(**value["limits"])
    reader = LineageReader(LocalFiles(), Path(value["home"]))
    with told_in_words(limits):
        connection = open_connection(reader, limits, asked=value["sql"])
    walls = _go_inside(Path(value["home"]), limits, sink)
    _send(sink, READY, json.dumps(walls).encode())
    with told_in_words(limits):
        _stream(batches_of(connection, value["sql"], limits), lambda data: _send(sink, STREAM, data))
    _send(sink, DONE, b"")
    os._exit(0)  # the connection need not be taken down piece by piece


class _Frames:
    """What Arrow writes into: each piece becomes a frame."""

    closed = False

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def write(self, data: Any) -> int:
        """Sends one piece, in frames that a pipe can hold."""
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            self._send(bytes(view[start : start + PIECE_BYTES]))
        return len(view)

    def flush(self) -> None:
        """Sends nothing: pieces are never kept."""


def _stream(batches: Any, send: Callable[[bytes], None]) -> None:
    import pyarrow as pa

    first = next(batches)
    with pa.ipc.new_stream(_Frames(send), first.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _go_inside(home: Path, limits: QueryLimits, sink: int) -> dict[str, Any]:
    """Puts up the walls; returns which stand. What ends a query that its parent forgot is set first."""
    from fitness.jail import Walls, enter

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.timeout_s + 1)
    segments = home.absolute() / "lineage"
    is_open = _is_open_to_all(segments)
    entered = enter(
        Walls(
            memory_bytes=limits.memory_bytes + _SPARE_BYTES,
            cpu_s=math.ceil(limits.timeout_s) + 1,
            open_files=_OPEN_FILES,
            keep_fds=(sink,),
            readable=(str(segments),) if segments.is_dir() else (),
            threads=limits.threads > 1,
            without=() if is_open else ("namespaces", "own user"),
        ),
        parent=os.getppid(),
    )
    return {"layers": entered.layers, "missing": entered.missing}


def _is_open_to_all(folder: Path) -> bool:
    """Returns whether nobody, in the sense of the system's user of that name, could read the files of this folder: as
    root the process gives its user up, where it could still read the lineage then."""
    with contextlib.suppress(OSError):
        return all(each.stat().st_mode & stat.S_IXOTH for each in (folder.resolve(), *folder.resolve().parents))
    return True


def _send(sink: int, kind: bytes, data: bytes) -> None:
    rest = memoryview(FRAME.pack(kind, len(data)) + data)
    while rest:
        rest = rest[os.write(sink, rest) :]


def _send_error(sink: int, error: Exception) -> None:
    from population.errors import EvolveError

    found: dict[str, str] = {"type": type(error).__name__, "message": str(error)[:MAX_MESSAGE]}
    if not isinstance(error, EvolveError):
        found = {"type": "fault", "message": "".join(traceback.format_exception(error))[-4000:]}
    with contextlib.suppress(OSError):  # the parent has gone
        _send(sink, ERROR, json.dumps(found).encode())


if __name__ == "__main__":
    main()
