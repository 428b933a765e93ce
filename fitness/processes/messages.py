"""Messages between processes: a small MessagePack header and raw byte blobs, with caps on both; nothing is ever unpickled.

Layout: ``u32 header size | header | blobs``, little-endian; the header's ``"blobs"`` lists their sizes.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from population.errors import FormatError

MAX_HEADER_BYTES = 64 << 20
MAX_BLOB_BYTES = 8 << 30


class Closed(Exception):
    """The other side closed the connection, or died."""


class DeadlinePassed(Exception):
    """The other side did not answer in time."""


@dataclass(frozen=True)
class Message:
    """One message: what it is called, plain fields, blobs."""

    kind: str
    fields: Mapping[str, Any]
    blobs: Sequence[bytes | memoryview] = ()


def send(connection: socket.socket, message: Message, deadline: float | None = None) -> None:
    """Writes a message.

    Args:
        deadline: ``time.monotonic()`` at which to give up; None waits for ever.

    Raises:
        Closed: the other side is gone. DeadlinePassed: it did not read in time.
    """
    sizes = [len(blob) for blob in message.blobs]
    header = msgpack.packb({"kind": message.kind, "fields": message.fields, "blobs": sizes}, default=_plain)
    _send_all(connection, struct.pack("<I", len(header)) + header, deadline)
    for blob in message.blobs:
        _send_all(connection, blob, deadline)


def receive(
    connection: socket.socket,
    deadline: float | None = None,
    *,
    max_header_bytes: int = MAX_HEADER_BYTES,
    max_blob_bytes: int = MAX_BLOB_BYTES,
) -> Message:
    """Reads a message, refusing one that announces more than the caps before any of it is held.

    Raises:
        Closed: the other side is gone. DeadlinePassed: it did not finish in time. FormatError: not a message.
    """
    (size,) = struct.unpack("<I", _receive_exactly(connection, 4, deadline))
    if size > max_header_bytes:
        raise FormatError(f"a message header of {size} bytes is above the cap of {max_header_bytes}")
    kind, fields, sizes = _checked_header(_receive_exactly(connection, size, deadline))
    if sum(sizes) > max_blob_bytes:
        raise FormatError(f"a message of {sum(sizes)} bytes is above the cap of {max_blob_bytes}")
    return Message(kind, fields, [_receive_exactly(connection, size, deadline) for size in sizes])


def is_readable(connection: socket.socket, deadline: float) -> bool:
    """Returns whether there is something to read before the deadline, the end of the connection included."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(deadline - time.monotonic(), 0.0) * 1000.0))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def _checked_header(data: memoryview) -> tuple[str, Mapping[str, Any], list[int]]:
    try:
        header = msgpack.unpackb(data, ext_hook=_refuse_extension)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise FormatError(f"a message header is not MessagePack: {error}") from error
    if not isinstance(header, dict) or set(header) != {"kind", "fields", "blobs"}:
        raise FormatError("a message header must hold kind, fields and blobs")
    kind, fields, sizes = header["kind"], header["fields"], header["blobs"]
    if not (isinstance(kind, str) and isinstance(fields, dict) and isinstance(sizes, list)):
        raise FormatError("a message header must hold a text, a map and a list")
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise FormatError("a message header must list sizes of at least 0")
    return kind, fields, sizes


def _refuse_extension(code: int, _data: bytes) -> object:
    raise ValueError(f"extension type {code}")


def _send_all(connection: socket.socket, data: bytes | memoryview, deadline: float | None) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        try:
            view = view[connection.send(view, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            _wait(connection, select.POLLOUT, deadline)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error


def _receive_exactly(connection: socket.socket, size: int, deadline: float | None) -> memoryview:
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    flags = 0 if deadline is None and connection.gettimeout() is None else socket.MSG_DONTWAIT  # 0: waits by itself
    while filled < size:
        try:
            count = connection.recv_into(view[filled:], 0, flags)
        except BlockingIOError:
            _wait(connection, select.POLLIN, deadline)
            continue
        except ConnectionResetError as error:
            raise Closed(str(error)) from error
        if count == 0:
            raise Closed(f"after {filled} of {size} bytes")
        filled += count
    return view


def _wait(connection: socket.socket, event: int, deadline: float | None) -> None:
    poll = select.poll()
    poll.register(connection, event)
    remaining = None if deadline is None else max(deadline - time.monotonic(), 0.0) * 1000.0
    if not poll.poll(remaining):
        raise DeadlinePassed
