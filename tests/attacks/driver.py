"""The process that forks every attack, outside or inside, and says how each ended; run as ``python -m tests.attacks.driver``.

Its only argument is the descriptor of a socket: orders come in as one line, each outcome goes out as one.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import importlib.util
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from tests.attacks.toolkit import Plants, libc
from tests.attacks.worlds import become, hide_mounts, take_away

HERE = Path(__file__).parent
PR_SET_CHILD_SUBREAPER, MADV_DONTFORK, PAGE = 36, 10, 4096
MAX_ANSWER_BYTES = 64 << 10
#: What an attack raises where it is refused; whatever else it raises is a fault of its own, and says nothing.
REFUSALS = (OSError, MemoryError)
#: How long a process asked to end may take to do so.
GRACE_S = 0.25
FELT: list[str] = []
#: What an attack does in a child: it is given the descriptor to answer on, and the walls that stand around it.
Body = Callable[[int, list[str]], None]
#: Runs a body in a child and returns the child's pid.
Starter = Callable[[Body, int], int]


def module_of(name: str) -> str:
    """Returns what an attack's module is called."""
    return f"tests.attacks.{name.replace('/', '.')}"


def load_attack(name: str) -> ModuleType:
    """Imports an attack by its path below this folder, without suffix."""
    spec = importlib.util.spec_from_file_location(module_of(name), HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Runs the attacks that the orders name, one after the other."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    stream = connection.makefile("rw", encoding="utf-8")
    orders = json.loads(stream.readline())
    attacks = {name: load_attack(name) for name in orders["names"]}
    start = _start_inside(orders) if orders["is_inside"] else _start_outside
    hide_mounts()
    codecs.lookup("ascii")  # what nobody may not read is imported before
    become(orders["world"])
    take_away(orders["world"])
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.chdir(orders["plants"]["folder"])
    for number in (signal.SIGUSR1, signal.SIGIO):
        signal.signal(number, lambda number, _frame: FELT.append(f"the parent got signal {number}"))
    plants, ears = _plant(orders, connection)
    for name, module in attacks.items():
        deadline_s = 3600.0 if orders.get("is_patient") else getattr(module, "DEADLINE_S", orders["deadline_s"])
        outcome = _try(module, plants, ears, start, deadline_s)
        stream.write(json.dumps({"name": name, **outcome}) + "\n")
        stream.flush()
        stream.readline()  # the next begins when this one's traces were looked for


def _plant(orders: dict[str, Any], connection: socket.socket) -> tuple[Plants, socket.socket]:
    """Puts a secret into this process's memory, and leaves descriptors open.

    Where children are jailed a fork does not take the secret along: their zygote never holds one, its parents do.
    """
    region = mmap.mmap(-1, PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    if orders["is_inside"]:
        libc.madvise(ctypes.c_void_p(address), PAGE, MADV_DONTFORK)
    os.readv(orders["memory_pipe"], [memoryview(region)])
    ears, control = socket.socketpair()
    ears.setblocking(False)
    fields = {"parent_pid": os.getpid(), "parent_address": address, "control_fd": control.detach()}
    fields["inherited_fd"] = os.open(orders["plants"]["folder"] + "/secret", os.O_RDONLY)
    for descriptor in (fields["control_fd"], fields["inherited_fd"]):
        os.set_inheritable(descriptor, True)
    _plant.kept = region  # type: ignore[attr-defined]
    return Plants(**orders["plants"], **fields), ears


def _start_outside(body: Body, result_fd: int) -> int:
    """Forks a plain child."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        body(result_fd, [])
    return pid


def _start_inside(orders: dict[str, Any]) -> Starter:
    """Returns what forks a child and jails it as judging children are, from a process that is warm as their zygote is."""
    from fitness.jail import Walls, enter, fork_inside
    from fitness.processes.run_inside import prepare

    prepare()
    memory_bytes, more = orders["plants"]["memory_bytes"], dict(orders["walls"])

    def start(body: Body, result_fd: int) -> int:
        parent = os.getpid()
        birth = fork_inside(wanted="namespaces" not in more.get("without", ()))
        if birth.pid == 0:
            try:
                entered = enter(Walls(memory_bytes, cpu_s=5, keep_fds=(result_fd,), **more), birth, parent)
                body(result_fd, list(entered.layers))
            finally:
                os._exit(70)
        return birth.pid

    return start


def _try(module: ModuleType, plants: Plants, ears: socket.socket, start: Starter, deadline_s: float) -> dict[str, Any]:
    """Runs one attack in a child and returns its outcome."""
    ours, theirs = socket.socketpair()
    pid = start(lambda result_fd, layers: _attack(module, plants, result_fd, layers), theirs.fileno())
    theirs.close()
    answer = _listen(ours, time.monotonic() + deadline_s)
    ended_itself, late_s, status = _end(pid, is_polite=start is _start_outside)
    ours.close()
    return {
        **answer,
        "status": status,
        "ended_itself": ended_itself,
        "late_s": late_s,
        "traces": [*_leftovers(), *_heard(ears)],
    }


def _attack(module: ModuleType, plants: Plants, result_fd: int, layers: list[str]) -> NoReturn:
    """Says that it starts, who it is and behind what; attacks, sends what came of it, and ends. Runs in the child."""
    started = {"started": module.__name__, "uid": os.getuid(), "layers": layers}
    os.write(result_fd, json.dumps(started).encode() + b"\n")
    try:
        evidence = module.attack(plants)
        answer = {"evidence": str(evidence)} if evidence is not None else {"refused": "nothing came of it"}
    except BaseException as error:  # noqa: BLE001 - an attack may raise anything, and the reason is the outcome
        answer = {"refused": f"{type(error).__name__}: {error}", "is_fault": not isinstance(error, REFUSALS)}
    os.write(result_fd, json.dumps(answer).encode()[:MAX_ANSWER_BYTES])
    os._exit(0)


def _listen(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """Reads what the child says until it closes its end, or the deadline."""
    data = b""
    while len(data) < MAX_ANSWER_BYTES:
        try:
            ready, _, _ = select.select([connection], [], [], max(deadline - time.monotonic(), 0.0))
        except InterruptedError:
            continue
        if not ready:
            return {"hung": "at the deadline", **_parsed(data)}
        try:
            piece = connection.recv(MAX_ANSWER_BYTES)
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
        if data.endswith(b"}"):
            break
    return _parsed(data)


def _parsed(data: bytes) -> dict[str, Any]:
    """Returns the mark of the beginning and the answer, as far as they came."""
    first, _, rest = data.partition(b"\n")
    found: dict[str, Any] = {}
    for name, text in (("begun", first), ("answer", rest)):
        try:
            found[name] = json.loads(text)
        except ValueError:
            return {**found, "died": "without an answer" if not rest else "in the middle of an answer"}
    if not isinstance(found["answer"], dict):
        return {"begun": found["begun"], "died": "with an answer of its own making"}
    return {"begun": found["begun"], **found["answer"]}


def _end(pid: int, *, is_polite: bool) -> tuple[bool, float, int]:
    """Asks a child to end, if that is polite, then kills it.

    Returns whether it ended so, how long killing took, and its wait status.
    """
    status = _reap(pid, GRACE_S / 5)
    if status is None and is_polite:
        os.kill(pid, signal.SIGTERM)
        status = _reap(pid, GRACE_S)
    if status is not None:
        return True, 0.0, status
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return False, time.monotonic() - began, status


def _reap(pid: int, patience_s: float) -> int | None:
    """Returns the wait status of a child that ends within this time."""
    deadline = time.monotonic() + patience_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.002)


def _leftovers() -> list[str]:
    """Kills what an attack left running, which this process inherits, and tells of it."""
    left = []
    deadline = time.monotonic() + 2.0
    while children := _children():
        for child in children:
            if child not in left:
                left.append(child)
            os.kill(child, signal.SIGKILL)
        os.waitpid(-1, os.WNOHANG)
        assert time.monotonic() < deadline, f"processes {children} cannot be killed"
    return [f"{len(left)} processes were left"] if left else []


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
        return [int(word) for word in children.read().split()]


def _heard(ears: socket.socket) -> list[str]:
    """Returns what reached this process itself."""
    found, FELT[:] = list(FELT), []
    with contextlib.suppress(BlockingIOError):
        found.append(f"the parent's connection was written to: {ears.recv(64)!r}")
    return found


if __name__ == "__main__":
    main()
