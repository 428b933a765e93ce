"""What a jailed process can still do here, found by trying: attacks on files, network, processes and memory.

The zygote lays out targets (a listener, a secret in its memory, an open file), forks a child behind the walls that
candidates get, and lets it attack them one after the other. Nothing here is guessed from versions or settings.

An attack says that it starts and how it ended; one that does not say both, or fails by a fault of its own, did not run.

Nouns: *attack* (one attempt), *targets* (what the zygote lays out for it).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from fitness.jail.namespaces import Birth, fork_inside
from fitness.jail.syscalls import call
from fitness.jail.walls import Walls, enter

KINDS = ("files", "network", "processes", "memory")
REFUSED, SUCCEEDED, UNAVAILABLE, NOT_RUN = "refused", "succeeded", "unavailable", "not run"
PATIENCE_S = 10.0
_SECRET = 0x5EC2E7_0F_7E57
_UNAVAILABLE = {"ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP"}


@dataclass(frozen=True)
class _Targets:
    """What there is to attack: the zygote, a file, a descriptor, listeners, a secret's address, a shared segment.

    No port is 0, no abstract name is empty, no segment is -1.
    """

    pid: int
    folder: str
    file: str
    descriptor: int
    port: int
    abstract: str
    secret: int
    segment: int
    memory_bytes: int


def try_walls(walls: Walls) -> dict[str, Any]:
    """Forks a child behind the walls and returns what it is behind and what every attack of it came to, as plain values."""
    with _laid_out(walls.memory_bytes) as targets:
        reading, writing = os.pipe()
        parent = os.getpid()
        birth = fork_inside(wanted="namespaces" not in walls.without)
        if birth.pid == 0:
            _attack(walls, birth, parent, writing, targets)
        os.close(writing)
        lines = _read_lines(reading)
        os.close(reading)
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(birth.pid, signal.SIGKILL)
        os.waitpid(birth.pid, 0)
    stands = lines[0] if lines else {"layers": {}, "missing": {"all": "the process behind the walls died at once"}}
    return {**stands, "attacks": _what_came_of(lines[1:])}


def _what_came_of(lines: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns every attack with its outcome, by what was said before and after each of them."""
    started = {line["started"] for line in lines if "started" in line}
    ended = {line["name"]: line for line in lines if "name" in line and line["name"] in started}
    attacks = []
    for name, (kind, _) in ATTACKS.items():
        gone = (SUCCEEDED, "no answer: the process was gone") if name in started else (NOT_RUN, "it did not start")
        outcome = {"outcome": gone[0], "detail": gone[1], **ended.get(name, {})}
        attacks.append({**outcome, "name": name, "kind": kind})
    return attacks


@contextlib.contextmanager
def _laid_out(memory_bytes: int) -> Iterator[_Targets]:
    secret = ctypes.c_uint64(_SECRET)
    abstract = f"\0trial-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trial-"))
        os.chmod(folder, 0o755)  # noqa: S103 - likewise
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="trial-"))
        file.write(b"secret")
        file.flush()
        os.chmod(file.name, 0o666)  # noqa: S103 - so that it is the walls that refuse, not its owner
        port, is_listening = 0, False
        with contextlib.suppress(OSError):  # a machine without a network, or without such sockets: less to attack
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        with contextlib.suppress(OSError):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            unix.bind(abstract)
            unix.listen()
            is_listening = True
        segment = -1
        with contextlib.suppress(OSError):
            segment = call("shmget", 0, 4096, 0o1666)
        try:
            yield _Targets(
                pid=os.getpid(),
                folder=folder,
                file=file.name,
                descriptor=file.fileno(),
                port=port,
                abstract=abstract if is_listening else "",
                secret=ctypes.addressof(secret),
                segment=segment,
                memory_bytes=memory_bytes,
            )
        finally:
            if segment >= 0:
                call("shmctl", segment, 0, 0)


def _attack(walls: Walls, birth: Birth, parent: int, writing: int, targets: _Targets) -> NoReturn:
    try:
        _attack_from_within(walls, birth, parent, writing, targets)
    finally:
        os._exit(0)


def _attack_from_within(walls: Walls, birth: Birth, parent: int, writing: int, targets: _Targets) -> None:
    try:
        entered = enter(Walls(**{**vars(walls), "keep_fds": (writing,)}), birth, parent)
    except Exception as error:  # noqa: BLE001 - no other process sees it; nothing is tried then
        _tell(writing, {"layers": {}, "missing": {"all": f"{type(error).__name__}: {error}"}})
        return
    _tell(writing, {"layers": entered.layers, "missing": entered.missing})
    for name, (_, attack) in ATTACKS.items():
        _tell(writing, {"started": name})
        _tell(writing, {"name": name, **_outcome(attack, targets)})


def _outcome(attack: Callable[[_Targets], object], targets: _Targets) -> dict[str, str]:
    try:
        detail = str(attack(targets))
    except (OSError, MemoryError) as error:  # what the machine does not give
        number = getattr(error, "errno", None)
        name = errno_name(number) if number else type(error).__name__
        return {"outcome": UNAVAILABLE if name in _UNAVAILABLE else REFUSED, "detail": name}
    except Exception as error:  # noqa: BLE001 - a fault of the attack, whatever it is, says nothing about the walls
        return {"outcome": NOT_RUN, "detail": f"{type(error).__name__}: {error}"[:100]}
    return {"outcome": SUCCEEDED, "detail": detail[:100]}


def errno_name(number: int) -> str:
    """Returns the name of an error number, as in EPERM."""
    return errno.errorcode.get(number, str(number))


def _tell(writing: int, value: dict[str, Any]) -> None:
    os.write(writing, json.dumps(value).encode() + b"\n")


def _read_lines(reading: int) -> list[dict[str, Any]]:
    data, deadline, poll = b"", time.monotonic() + PATIENCE_S, select.poll()
    poll.register(reading, select.POLLIN)
    while poll.poll(max(deadline - time.monotonic(), 0.0) * 1000.0):
        part = os.read(reading, 1 << 16)
        data += part
        if not part:
            break
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


# ---- attacks: each returns where it succeeds, and raises OSError where the machine refuses -------------------------------


class _NoTarget(Exception):
    """The zygote could not lay out what is attacked, and nothing refused the attack before."""


def _no_target(targets: _Targets) -> object:
    raise _NoTarget


def _read_descriptor(targets: _Targets) -> object:
    return os.pread(targets.descriptor, 6, 0)


def _read_file(targets: _Targets) -> object:
    with open(targets.file, "rb") as file:
        return file.read()


def _write_file(targets: _Targets) -> object:
    with open(targets.file, "wb", buffering=0) as file:
        return file.write(b"x")


def _mount(targets: _Targets) -> object:
    call("mount", b"none", targets.folder.encode(), b"tmpfs", 0, None)
    call("umount2", targets.folder.encode(), 2)  # an attack leaves the machine as it was
    return "mounted"


def _read_memory_of_process(targets: _Targets) -> object:
    with open(f"/proc/{targets.pid}/environ", "rb") as file:
        return len(file.read())


def _connect_tcp(targets: _Targets) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(1.0)
        if not targets.port:
            return _no_target(targets)
        one.connect(("127.0.0.1", targets.port))
    return "connected"


def _connect_abstract(targets: _Targets) -> object:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        if not targets.abstract:
            return _no_target(targets)
        one.connect(targets.abstract)
    return "connected"


def _send_udp(targets: _Targets) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return one.sendto(b"x", ("127.0.0.1", targets.port or 9))


def _make_socket(family: int, kind: int) -> Callable[[_Targets], object]:
    def attack(targets: _Targets) -> object:
        with socket.socket(family, kind):
            return "made"

    return attack


def _fork(targets: _Targets) -> object:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)


def _thread(targets: _Targets) -> object:
    thread = threading.Thread(target=bool)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    thread.join()
    return "ran"


def _trace(targets: _Targets) -> object:
    return call("ptrace", 0x4206, targets.pid, 0, 0)  # seize: does not stop it


def _read_memory(targets: _Targets) -> object:
    word = ctypes.c_uint64(0)
    ours = (ctypes.c_uint64 * 2)(ctypes.addressof(word), 8)
    theirs = (ctypes.c_uint64 * 2)(targets.secret, 8)
    call("process_vm_readv", targets.pid, ctypes.addressof(ours), 1, ctypes.addressof(theirs), 1, 0)
    if word.value != _SECRET:
        raise OSError(1, "another process's memory")
    return "the secret"


def _signal(targets: _Targets) -> object:
    os.kill(targets.pid, 0)
    return "it is there"


def _attach_segment(targets: _Targets) -> object:
    if targets.segment < 0:
        return call("shmget", 0, 4096, 0o1600)
    return call("shmat", targets.segment, 0, 0)


def _read_clock(targets: _Targets) -> object:
    return time.clock_gettime((~targets.pid << 3) | 2)


def _see_affinity(targets: _Targets) -> object:
    return os.sched_getaffinity(targets.pid)


def _name_holder(targets: _Targets) -> object:
    """Waits for no time for a lock that the zygote is said to hold: the kernel looks for who holds it first."""
    word, soon = ctypes.c_uint32(targets.pid), (ctypes.c_long * 2)(0, 0)
    lock_with_priority = 6
    try:
        call("futex", ctypes.addressof(word), lock_with_priority, 0, ctypes.addressof(soon), 0, 0)
    except TimeoutError:
        return "it is there"
    return "it held the lock"


def _exec(targets: _Targets) -> object:
    return os.execv(sys.executable, ["python", "-c", ""])  # noqa: S606 - this is an attack


def _io_uring(targets: _Targets) -> object:
    return call("io_uring_setup", 1, bytes(120))


def _load_bpf(targets: _Targets) -> object:
    return call("bpf", 0, struct.pack("<4I", 2, 4, 4, 1).ljust(72, b"\0"), 72)  # an array of one number


def _unshare(targets: _Targets) -> object:
    return call("unshare", 0x1000_0000)


def _much_memory(targets: _Targets) -> object:
    return len(mmap.mmap(-1, targets.memory_bytes + (64 << 20)))


def _raise_limit(targets: _Targets) -> object:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error
    return "raised"


#: name -> (kind, attack), in the order in which they are tried; the last may end the process.
ATTACKS: dict[str, tuple[str, Callable[[_Targets], object]]] = {
    "use a descriptor of the zygote": ("files", _read_descriptor),
    "read a file": ("files", _read_file),
    "write a file": ("files", _write_file),
    "list the root folder": ("files", lambda targets: os.listdir("/") or _nothing()),
    "mount a file system": ("files", _mount),
    "read the zygote's environment": ("files", _read_memory_of_process),
    "connect by TCP": ("network", _connect_tcp),
    "connect to an abstract socket": ("network", _connect_abstract),
    "send by UDP": ("network", _send_udp),
    "make a netlink socket": ("network", _make_socket(16, socket.SOCK_RAW)),
    "make a VM socket": ("network", _make_socket(40, socket.SOCK_STREAM)),
    "make a socket of the kernel's cryptography": ("network", _make_socket(38, 5)),
    "fork": ("processes", _fork),
    "start a thread": ("processes", _thread),
    "trace the zygote": ("processes", _trace),
    "read the zygote's memory": ("processes", _read_memory),
    "signal the zygote": ("processes", _signal),
    "read the zygote's processor time": ("processes", _read_clock),
    "see where the zygote may run": ("processes", _see_affinity),
    "find the zygote by a lock": ("processes", _name_holder),
    "use io_uring": ("processes", _io_uring),
    "load a BPF map": ("processes", _load_bpf),
    "enter a user namespace": ("processes", _unshare),
    "attach shared memory": ("processes", _attach_segment),
    "take more memory": ("memory", _much_memory),
    "raise its own limit": ("memory", _raise_limit),
    "run another program": ("processes", _exec),
}


def _nothing() -> object:
    raise OSError(2, "nothing there")
