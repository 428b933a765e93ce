"""The neighbour that attacks are after: a process of the same user with secrets in its environment, memory, files and
shared memory, and with open ears; run as ``python -m tests.attacks.prey``. It says where they are, and what it felt.

The first line of its input is its orders; each further line asks for a report.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import signal
import socket
import sys
from typing import Any

from tests.attacks.toolkit import libc
from tests.attacks.worlds import become

IPC_PRIVATE, IPC_RMID, EVERYBODY = 0, 0, 0o666


class Prey:
    """What lies about, and what has been felt: connections, datagrams, signals, changes."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._felt: list[str] = []
        self._memory = mmap.mmap(-1, 4096)
        self._memory.write(orders["secrets"]["memory"].encode())
        self._file = os.open(f"{orders['folder']}/handed", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(self._file, orders["secrets"]["descriptor"].encode())
        os.unlink(f"{orders['folder']}/handed")
        self._listeners = self._listen()
        self._share()
        for number in (signal.SIGUSR1, signal.SIGIO):
            signal.signal(number, lambda number, _frame: self._felt.append(f"signal {number}"))

    def places(self) -> dict[str, Any]:
        """Says where everything is, by the names of ``Plants``."""
        names = [listener.getsockname() for listener in self._listeners]
        return {
            "prey_pid": os.getpid(),
            "prey_address": ctypes.addressof(ctypes.c_char.from_buffer(self._memory)),
            "prey_fd": self._file,
            "tcp_port": names[0][1],
            "tcp6_port": names[1][1],
            "udp_port": names[2][1],
            "abstract": names[3][1:].decode(),
            "shm_id": self._shm_id,
            "msg_id": self._msg_id,
            "shm_name": self._shared_name,
        }

    def serve(self) -> None:
        """Answers each line of input with what was felt since the last, until the input ends."""
        stdin = sys.stdin.fileno()
        while True:
            try:
                ready, _, _ = select.select([stdin, *self._listeners], [], [])
            except InterruptedError:
                continue
            for listener in ready:
                if not isinstance(listener, int):
                    self._hear(listener)
            if stdin in ready:
                if not os.read(stdin, 4096):
                    return
                self._look()
                _say(self._felt)
                self._felt = []

    def remove(self) -> None:
        """Takes away what would outlive this process."""
        libc.shmctl(self._shm_id, IPC_RMID, None)
        libc.msgctl(self._msg_id, IPC_RMID, None)
        os.unlink(f"/dev/shm/{self._shared_name}")

    def _listen(self) -> list[socket.socket]:
        tcp, tcp6 = socket.socket(), socket.socket(socket.AF_INET6)
        udp = socket.socket(type=socket.SOCK_DGRAM)
        abstract, path = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        tcp.bind(("127.0.0.1", 0))
        tcp6.bind(("::1", 0))
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0prey-{os.getpid()}")
        path.bind(f"{self._orders['folder']}/socket")
        os.chmod(f"{self._orders['folder']}/socket", EVERYBODY)
        for listener in (tcp, tcp6, abstract, path):
            listener.listen(8)
        return [tcp, tcp6, udp, abstract, path]

    def _share(self) -> None:
        secret = self._orders["secrets"]["shared"].encode()
        self._shm_id = libc.shmget(IPC_PRIVATE, ctypes.c_size_t(4096), EVERYBODY)
        libc.shmat.restype = ctypes.c_void_p
        self._shm = libc.shmat(self._shm_id, None, 0)
        ctypes.memmove(self._shm, secret, len(secret))
        self._msg_id = libc.msgget(IPC_PRIVATE, EVERYBODY)
        libc.msgsnd(
            self._msg_id, ctypes.c_long(1).value.to_bytes(8, "little") + secret, ctypes.c_size_t(len(secret)), 0
        )
        self._shared_name = f"prey-{os.getpid()}"
        with open(f"/dev/shm/{self._shared_name}", "w+b") as file:
            os.fchmod(file.fileno(), EVERYBODY)
            file.truncate(4096)
            self._shared = mmap.mmap(file.fileno(), 4096)
        self._shared[: len(secret)] = secret

    def _hear(self, listener: socket.socket) -> None:
        if listener.type == socket.SOCK_DGRAM:
            self._felt.append(f"datagram {listener.recv(64)!r}")
            return
        connection, _ = listener.accept()
        with connection:
            connection.sendall(self._orders["secrets"]["socket"].encode())
        self._felt.append(f"connection to {listener.family.name}")

    def _look(self) -> None:
        secrets = self._orders["secrets"]
        held = {
            "memory": bytes(self._memory[:64]),
            "SysV shared memory": ctypes.string_at(self._shm or 0, 64),
            "POSIX shared memory": bytes(self._shared[:64]),
            "open file": os.pread(self._file, 64, 0),
        }
        expected = dict(zip(held, (secrets["memory"], *[secrets["shared"]] * 2, secrets["descriptor"]), strict=True))
        for name, data in held.items():
            if data.split(b"\0")[0] != expected[name].encode():
                self._felt.append(f"its {name} was changed")
                self._restore(name, expected[name].encode())

    def _restore(self, name: str, content: bytes) -> None:
        content = content.ljust(64, b"\0")
        if name == "memory":
            self._memory[:64] = content
        elif name == "SysV shared memory":
            ctypes.memmove(self._shm or 0, content, 64)
        elif name == "POSIX shared memory":
            self._shared[:64] = content
        else:
            os.truncate(self._file, 0)
            os.pwrite(self._file, content.rstrip(b"\0"), 0)


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Lies about until the input ends."""
    orders = json.loads(os.read(0, 65536))
    become(orders["world"])
    prey = Prey(orders)
    _say(prey.places())
    try:
        prey.serve()
    finally:
        prey.remove()


if __name__ == "__main__":
    main()
