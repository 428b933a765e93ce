"""Drivers of whole campaigns that start in milliseconds: forked from a process that has imported everything.

A driver is a process of its own and works with worker processes and judges like any other; they are forked from it instead
of executed, which saves three seconds of imports a driver. It can be told to die, by SIGKILL, at its n-th change of the
disk: before the call, in the midst of a write, or after it.

Nouns: *foundry* (the process that forks), *task* (what one driver is to do).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from evolve.recovery.forked_plan import plan_in
from tests.evolve import whole

#: What changes a disk. A driver does no other writing through these: it talks to workers over sockets.
CHANGES = ("open", "write", "fsync", "fdatasync", "link", "replace", "rename", "unlink", "mkdir", "rmdir", "ftruncate")


@dataclass(frozen=True)
class Task:
    """What a driver is to do.

    Attributes:
        log: where it notes, commit by commit, what the lineage has acknowledged. die_at: number of the change of the disk
            at which it dies; moment: "before", "midst" or "after" it. checkpoint_births: births between checkpoints.
        only_home: make the home, and no campaign.
    """

    home: str
    config: str
    overrides: tuple[str, ...]
    log: str
    workers: int = 1
    die_at: int | None = None
    moment: str = "before"
    checkpoint_births: int | None = None
    only_home: bool = False


class Foundry:
    """The foundry as its tests hold it; leaving the context ends it."""

    def __enter__(self) -> Foundry:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.evolve.foundry"],
            env=whole.environment(OMP_NUM_THREADS="1"),
            cwd=whole.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, task: Task) -> int:
        """Returns the process id of a new driver."""
        return int(self._ask({"start": asdict(task)}))

    def wait(self, pid: int) -> int:
        """Returns how a driver ended, as ``Popen.returncode`` says it."""
        return int(self._ask({"wait": pid}))

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Serves requests, one a line, until the test is gone."""
    for module in (
        "evolve.driver.launch",
        "evolve.recipes.materialise",
        "fitness.evaluators.child_processes",
        "fitness.evaluators.worker_process",
        "fitness.evaluators.worker_server",
        "fitness.judges.judge_process",
        "fitness.simulators.simulator_process",
        "fitness.simulators.gymnasium_lanes",
        "sklearn.datasets",
    ):
        importlib.import_module(module)
    importlib.import_module("torch").set_num_threads(1)
    judges = importlib.import_module("fitness.judges.judge_process")
    judges.warm()
    setattr(judges, "warm", list)  # noqa: B010 - what is forked from here is warm
    whole.config()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = _fork(lambda task=Task(**request["start"]): _drive(task))  # type: ignore[misc]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        gc.freeze()
        os.setsid()
        act()
        code = 0
    except BaseException:  # noqa: BLE001 - the end of a process: whatever it was is told, and nothing runs after it
        traceback.print_exc()
    finally:
        os._exit(code)


# ---- in a driver --------------------------------------------------------------------------------------------------------


def _drive(task: Task) -> None:
    from evolve.config.campaign import load_config
    from evolve.driver.launch import launch
    from evolve.home.home import Home
    from evolve.tracking.protocol import NullTracker

    task_log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with open(os.devnull) as quiet:
        os.dup2(quiet.fileno(), 0)
    _note_commits(task_log)
    _fork_below()
    if task.checkpoint_births is not None:
        _set_checkpoints(task.checkpoint_births)
    changes = _die_at(task.die_at, task.moment)
    if task.only_home:
        Home.create(Path(task.home))
        return
    config = load_config(Path(task.config), [*task.overrides, f"run.workers={task.workers}", "run.address=local"])
    summary = launch(
        plan_in(Home.create(Path(task.home)), config),
        Home.create(Path(task.home)),
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )
    _real["write"](task_log, (json.dumps({"done": summary, "changes": next(changes)}) + "\n").encode())


_real: dict[str, Any] = {name: getattr(os, name) for name in CHANGES}


def _fork_below() -> None:
    """Lets this process, and workers below it, fork what they would execute."""
    for module in ("fitness.evaluators.child_processes", "fitness.processes.zygote"):
        found = importlib.import_module(module)
        assert hasattr(found, "start_process")
        setattr(found, "start_process", _forked)  # noqa: B010


def _note_commits(log: int) -> None:
    """Notes the hash of every commit after the lineage has acknowledged it."""
    from blake3 import blake3

    from population.lineage.format.commits import encode_commit
    from population.lineage.journal.writer import LineageWriter

    commit_of = LineageWriter.commit

    def commit(writer: LineageWriter, commit: Any) -> None:
        commit_of(writer, commit)
        noted = {"step": commit.step, "hash": blake3(encode_commit(commit)).hexdigest()}
        _real["write"](log, (json.dumps(noted) + "\n").encode())

    setattr(LineageWriter, "commit", commit)  # noqa: B010


def _set_checkpoints(births: int) -> None:
    with suppress(ImportError):
        setattr(importlib.import_module("evolve.recovery.checkpoints"), "EVERY_BIRTHS", births)  # noqa: B010


def _die_at(last: int | None, moment: str) -> Iterator[int]:
    """Counts the changes of the disk, and dies at one of them; returns what tells their number."""
    count = 0

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            if name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                return _real[name](*arguments, **named)
            count += 1
            if last is None or count < last:
                return _real[name](*arguments, **named)
            if moment == "after":
                _real[name](*arguments, **named)
            elif moment == "midst" and name == "write":
                _real[name](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("a dead process went on")

        return call

    for name in CHANGES:
        setattr(os, name, counted(name))
    return iter(lambda: count, -1)


class _Child:
    """A forked process with the methods of ``Popen`` that are used of one."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None  # type: ignore[var-annotated]

    def poll(self) -> int | None:
        if self.returncode is None:
            with suppress(ChildProcessError):
                found, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        import time

        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forked", timeout or 0.0)
            time.sleep(0.001)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _forked(command: Sequence[str], *passed_fds: int) -> _Child:
    """As ``fitness.processes.child_process.start_process``, by a fork: the program is imported already."""
    from fitness.processes.zygote_server import serve as serve_zygote

    arguments = list(command)
    place = arguments.index("-m")

    def serve() -> None:
        for name, call in _real.items():
            setattr(os, name, call)
        quiet = os.open(os.devnull, os.O_RDWR)
        kept = sorted({0, 1, 2, *passed_fds})
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        for low, high in zip(kept, [*kept[1:], 4096], strict=True):
            os.closerange(low + 1, high)
        sys.argv = [arguments[place + 1], *arguments[place + 2 :]]
        module = importlib.import_module(arguments[place + 1])
        module.main() if hasattr(module, "main") else serve_zygote(module.prepare)

    return _Child(_fork(serve))


if __name__ == "__main__":
    main()
