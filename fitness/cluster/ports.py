"""Which ports processes listen on, as /proc tells, and whether Ray's answer a caller without the token. Linux only.

Nouns: a *port* is one listening TCP socket; a *call* is one gRPC method of Ray's, asked with nothing in it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

PROC = Path("/proc")
_LISTENS = "0A"
_TIMEOUT_S = 3.0
#: One call of each of Ray's services; a server knows the calls of its own services alone and says so of the others.
CALLS = (
    "ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "ray.rpc.NodeManagerService/GetNodeStats",
    "ray.rpc.CoreWorkerService/NumPendingTasks",
    "ray.rpc.ObjectManagerService/Pull",
)
_UNAUTHENTICATED, _UNIMPLEMENTED = 16, 12

Answer = Literal["refuses", "answers", "unknown"]


@dataclass(frozen=True)
class Port:
    """A listening TCP socket: the process, its program, the address it is bound to and the number."""

    pid: int
    program: str
    address: str
    number: int

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def reachable_at(self) -> str:
        """Returns the address under which this machine calls it."""
        address = ipaddress.ip_address(self.address)
        return "127.0.0.1" if address.is_unspecified else self.address


def listening(pids: Iterable[int]) -> list[Port]:
    """Returns the TCP ports these processes listen on, by number; psutil would miss those in a network namespace of their own."""
    found = []
    for pid in pids:
        inodes = _socket_inodes(pid)
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                lines = (PROC / str(pid) / "net" / table).read_text(encoding="ascii").splitlines()[1:]
                rows = [line.split() for line in lines]
                own = [row for row in rows if row[3] == _LISTENS and row[9] in inodes]
                found += [Port(pid, _program(pid), *_place(row[1])) for row in own]
    return sorted(set(found), key=lambda port: (port.number, port.pid))


def descendants(pid: int) -> list[int]:
    """Returns the processes below one, and not itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def without_token(port: Port, token: str | None = None) -> Answer:
    """Returns what a port of Ray's does with a caller that names no token, or this one."""
    statuses = [_call(port, call, token) for call in CALLS]
    known = [status for status in statuses if status not in (None, _UNIMPLEMENTED)]
    if not known:
        return _web(port, token)
    return "refuses" if all(status == _UNAUTHENTICATED for status in known) else "answers"


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    with contextlib.suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                named = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
                if named:
                    inodes.add(named.group(1))
    return inodes


def _program(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return "gone"


def _place(text: str) -> tuple[str, int]:
    """Returns address and port of /proc's ``0100007F:1F90``: hexadecimal words in the machine's order (little-endian)."""
    words, _, number = text.partition(":")
    raw = b"".join(bytes.fromhex(words[start : start + 8])[::-1] for start in range(0, len(words), 8))
    return str(ipaddress.ip_address(raw)), int(number, 16)


def _call(port: Port, call: str, token: str | None) -> int | None:
    """Returns the gRPC status of an empty call, or None where the port speaks no gRPC."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{call}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        **({"authorization": f"Bearer {token}"} if token else {}),
    }
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
    frames = _frame(4, 0, 0, b"") + _frame(1, 4, 1, block) + _frame(0, 1, 1, bytes(5))
    answer = _exchange(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames, b"grpc-status")
    status = re.search(rb"grpc-status.(\d+)", answer, re.DOTALL)
    return int(status.group(1)) if status else None


def _web(port: Port, token: str | None) -> Answer:
    """Says what a port that speaks HTTP/1.1 (the agent of run-time environments) does."""
    named = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"GET / HTTP/1.1\r\nHost: localhost\r\n{named}Connection: close\r\n\r\n".encode()
    answer = _exchange(port, request, b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\d (\d+)", answer)
    if status is None:
        return "unknown"
    return "refuses" if status.group(1) in (b"401", b"403") else "answers"


def _exchange(port: Port, request: bytes, until: bytes) -> bytes:
    answer = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((port.reachable_at, port.number), timeout=_TIMEOUT_S) as connection,
    ):
        connection.sendall(request)
        while until not in answer or answer.endswith(until):
            received = connection.recv(1 << 16)
            if not received:
                break
            answer += received
            if until in answer and not answer.endswith(until):
                break
    return answer


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("ascii")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
