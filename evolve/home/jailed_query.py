"""Asks the lineage in SQL that nobody vouches for: in a process of its own, behind walls, with limits from outside.

The process reads the lineage's segments and nothing else; it has no environment, no network and no other program. Its
rows come back as an Arrow stream that is bounded and checked before it is used. Noun: a *cause* says how it died.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.home.query_process import DONE, ERROR, FRAME, PIECE_BYTES, READY, STREAM
from fitness.processes.child_process import python_command, python_variables
from population import errors
from population.errors import EvolveError, InputError
from population.lineage.sql.limits import QueryLimits, check_text

if TYPE_CHECKING:
    import subprocess

    import pyarrow as pa

#: How long making the views may take: segments are checked against their hashes meanwhile.
START_TIMEOUT_S = 600.0
#: A frame that is not a piece of the rows is this long at most.
_MAX_WORD_BYTES = 1 << 16
_LOOK_S = 0.05


@dataclass
class QueryAnswer:
    """What came back of one query, and what its process took.

    Attributes:
        stream: the bytes of the Arrow stream. walls: which walls stood, which were missing and why.
        peak_rss_bytes (looked at every 50 ms, Linux), cpu_s, seconds: of its process.
        ready: when the views were there, on the monotonic clock.
        query_s: from then until the process was gone.
    """

    stream: bytearray = field(default_factory=bytearray)
    walls: dict[str, Any] = field(default_factory=dict)
    peak_rss_bytes: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0
    ready: float = 0.0
    query_s: float = 0.0
    error: EvolveError | None = None


def query(home: Path, sql: str, limits: QueryLimits | None = None) -> pa.Table:
    """Returns the rows of one SELECT over the views of a home.

    Raises:
        InputError: not one SELECT, DuckDB refused it, or a limit was met; the message says which.
        LineageCorrupt: a lineage of the home is damaged.
    """
    limits = limits or QueryLimits()
    answer = ask(home, sql, limits)
    if answer.error is not None:
        raise answer.error
    return _table(answer.stream, limits)


def ask(home: Path, sql: str, limits: QueryLimits) -> QueryAnswer:
    """Returns what came of a query, an error included, with what its process took. Raises InputError for no text."""
    check_text(sql)
    limits.memory_bytes  # noqa: B018 - raises where it is no size
    request = {"home": str(home.absolute()), "sql": sql, "limits": asdict(limits)}
    answer = QueryAnswer()
    began = time.monotonic()
    with _process() as (process, source, sink):
        feeder = threading.Thread(target=_feed, args=(source, json.dumps(request).encode()), daemon=True)
        feeder.start()
        try:
            answer.error = _listen(process.pid, sink, limits, answer)
        finally:
            os.kill(process.pid, signal.SIGKILL)  # not reaped yet, so it is ours; `process.kill` would reap it
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            feeder.join()
    ended = time.monotonic()
    answer.seconds, answer.query_s = ended - began, ended - answer.ready if answer.ready else 0.0
    answer.cpu_s = used.ru_utime + used.ru_stime
    if isinstance(answer.error, _Ended):
        answer.error = _cause(process.returncode, limits)
    return answer


class _Ended(EvolveError):
    """The process ended without an answer; its status tells why."""


@contextlib.contextmanager
def _process() -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Starts the query's process; yields it, where to write the request and where to read the answer."""
    import subprocess

    theirs_in, source = os.pipe()
    sink, theirs_out = os.pipe()
    command = python_command("-S", "-m", "evolve.home.query_process", str(theirs_in), str(theirs_out))
    folder = str(Path(__file__).parents[2])  # `-S` skips what an editable installation adds to the path
    # One thread, so that it can have namespaces of its own; and no memory pool that reserves address space ahead.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = python_variables() | threads
    environment["PYTHONPATH"] = os.pathsep.join((folder, environment["PYTHONPATH"]))
    environment |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    nowhere = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command,
            env=environment | kept,
            pass_fds=(theirs_in, theirs_out),
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            start_new_session=True,
        )
    except BaseException:
        os.close(source)
        raise
    finally:
        os.close(theirs_in)
        os.close(theirs_out)
    try:
        yield process, source, sink
    finally:
        os.close(sink)


def _feed(source: int, data: bytes) -> None:
    """Writes the request; a process that dies before it has read it all is told of by its status."""
    with contextlib.suppress(BrokenPipeError), os.fdopen(source, "wb") as request:
        request.write(data)


def _listen(pid: int, sink: int, limits: QueryLimits, answer: QueryAnswer) -> EvolveError | None:
    """Reads frames until the answer is whole, a limit is met, or nothing more can come; returns what went wrong."""
    received = bytearray()
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        answer.peak_rss_bytes = max(answer.peak_rss_bytes, _peak_rss(pid))
        rest = deadline - time.monotonic()
        if rest <= 0:
            return InputError(f"query: stopped after {limits.timeout_s:g} s; narrow it, or allow more time")
        if not select.select([sink], [], [], min(rest, _LOOK_S))[0]:
            continue
        piece = os.read(sink, PIECE_BYTES)
        if not piece:
            return _Ended()
        received += piece
        for kind, data in _frames(received):
            if kind == READY:
                answer.ready, answer.walls = time.monotonic(), json.loads(data)
                deadline = answer.ready + limits.timeout_s
            elif kind == STREAM:
                answer.stream += data
                if len(answer.stream) > limits.memory_bytes:
                    return InputError(f"query: its rows take more than {limits.memory}; add LIMIT, or allow more")
            else:
                return _told(data) if kind == ERROR else None if kind == DONE else _broken(f"frame {kind!r}")


def _peak_rss(pid: int) -> int:
    """Returns the most memory that a living process held so far; what the system tells at its end would count what this
    process held when it started it."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _frames(received: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Takes the whole frames off the beginning of what was received."""
    while len(received) >= FRAME.size:
        kind, length = FRAME.unpack_from(received)
        if length > (PIECE_BYTES if kind == STREAM else _MAX_WORD_BYTES):
            raise _broken(f"a frame of {length} bytes")
        if len(received) < FRAME.size + length:
            return
        data = bytes(memoryview(received)[FRAME.size : FRAME.size + length])
        del received[: FRAME.size + length]
        yield kind, data


def _told(data: bytes) -> EvolveError:
    """Returns the error that the process told, as one of those it may tell."""
    found = json.loads(data)
    message = str(found.get("message"))
    kind = getattr(errors, str(found.get("type")), None)
    if isinstance(kind, type) and issubclass(kind, EvolveError):
        return kind(message)
    return _broken(message)


def _broken(what: str) -> EvolveError:
    return EvolveError(f"the query's process does not answer as it should: {what}")


def _cause(status: int, limits: QueryLimits) -> EvolveError:
    """Returns in words how a process died that did not answer. Jailed, it leaves some signals as an exit code."""
    number = -status if status < 0 else status
    if number in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL):
        return InputError(f"query: stopped after {limits.timeout_s:g} s; narrow it, or allow more time")
    if number == signal.SIGSYS:
        return InputError("query: its process was ended, since it asked the system for what no query needs")
    if number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS):
        name = signal.Signals(number).name
        return InputError(
            f"query: its process died ({name}), most likely of more than {limits.memory} of memory or of too deep a "
            "nesting; narrow it, or allow more memory"
        )
    return _broken(f"it ended with status {status}")


def _table(stream: bytearray, limits: QueryLimits) -> pa.Table:
    """Returns the rows of a stream that is not trusted."""
    import pyarrow as pa

    try:
        rows = pa.ipc.open_stream(pa.py_buffer(stream)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise _broken(str(error)) from error
    try:
        rows.validate(full=True)
    except pa.ArrowException as error:
        raise InputError(
            f"query: a value does not fit the type of its column ({str(error)[:200]}); cast the column to text, such as "
            "column::VARCHAR"
        ) from error
    if rows.num_rows > limits.rows:
        raise InputError(f"query: more than {limits.rows} rows; add LIMIT or an aggregate, or allow more rows")
    return rows
