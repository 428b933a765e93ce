"""Runs the function ``attack`` of Python files inside the walls that candidates are judged in, and says how that ended.

    python -m fitness.processes.run_inside FILE... [--memory MIB] [--wall S] [--without LAYER]... [--user UID] [--outside]

One JSON line a file: ``returned`` or ``raised`` and what, or ``died`` and of what; and the layers that stood.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import inspect
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from fitness.jail.namespaces import fork_inside
from fitness.jail.walls import Walls, enter
from fitness.processes.warm_up import warm

MAX_ANSWER_BYTES = 1 << 20
WITHOUT_NAMESPACES = ("user-namespaces", "namespaces")


def main() -> None:
    """Runs the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--memory", type=int, default=512, help="MiB of address space beyond the process's own")
    parser.add_argument("--wall", type=float, default=5.0, help="seconds until it is killed")
    parser.add_argument(
        "--without", action="append", default=[], help="a layer to leave out; user-namespaces: all of them"
    )
    parser.add_argument("--user", type=int, help="become this user first")
    parser.add_argument("--outside", action="store_true", help="run without any wall, to see what would happen")
    parser.add_argument("--targets", default="{}", help="JSON that attack(targets) is given, if it takes an argument")
    given = parser.parse_args()
    prepare()
    if given.user is not None:
        os.setgroups([])
        os.setresgid(given.user, given.user, given.user)
        os.setresuid(given.user, given.user, given.user)
        with contextlib.suppress(OSError):  # /proc of this process belongs to its user again
            from fitness.jail.syscalls import prctl

            prctl(4, 1)
    walls = None if given.outside else Walls(given.memory << 20, without=tuple(given.without))
    for file in given.files:
        sys.stdout.write(json.dumps(run_inside(file, walls, given.wall, json.loads(given.targets))) + "\n")
        sys.stdout.flush()


def prepare() -> None:
    """Does what a zygote does before it forks."""
    import gc

    torch.set_num_threads(1)
    warm()
    gc.collect()
    gc.freeze()


def run_inside(
    file: str, walls: Walls | None, wall_s: float = 5.0, targets: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns what ``attack`` of a file did behind the walls; None: without any. This process must have one thread."""
    reading, writing = os.pipe()
    began = time.monotonic()
    namespaces_wanted = walls is not None and not set(walls.without) & set(WITHOUT_NAMESPACES)
    birth = fork_inside(wanted=namespaces_wanted)
    if birth.pid == 0:
        os.close(reading)
        _attack(file, walls, birth, writing, targets or {})
    os.close(writing)
    answer = _read_until(reading, began + wall_s)
    os.close(reading)
    timed_out = answer.count(b"\n") < 2 and time.monotonic() >= began + wall_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(birth.pid, signal.SIGKILL)
    _, status, usage = os.wait4(birth.pid, 0)
    found: dict[str, Any] = {"file": file, "seconds": round(time.monotonic() - began, 3)}
    found["max_rss_bytes"] = usage.ru_maxrss * 1024
    lines = answer.splitlines()
    with contextlib.suppress(ValueError, IndexError):
        found |= json.loads(lines[0])
    with contextlib.suppress(ValueError, IndexError):
        return {**found, **json.loads(lines[1])}
    died = "timeout" if timed_out else f"signal {status & 0x7F}" if status & 0x7F else f"exit {status >> 8}"
    return {**found, "died": died}


def _attack(file: str, walls: Walls | None, birth: Any, writing: int, targets: Mapping[str, Any]) -> NoReturn:
    try:
        found = importlib.util.spec_from_file_location("attack_file", file)
        if found is None or found.loader is None:
            raise ImportError(file)
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        arguments: Sequence[Any] = [targets] if inspect.signature(module.attack).parameters else []
        stands: dict[str, Any] = {"layers": {}, "missing": {}}
        if walls is not None:
            kept = Walls(**{**vars(walls), "keep_fds": (*walls.keep_fds, writing)})
            entered = enter(kept, birth)
            stands = {"layers": entered.layers, "missing": entered.missing}
        os.write(writing, json.dumps(stands).encode() + b"\n")
        try:
            answer: dict[str, Any] = {"returned": module.attack(*arguments)}
        except BaseException as error:  # noqa: BLE001 - whatever an attack raises is what is asked for
            answer = {"raised": f"{type(error).__name__}: {error}"[:2000]}
        text = json.dumps(answer, default=repr).encode()
        os.write(writing, text[:MAX_ANSWER_BYTES] + b"\n")
    except BaseException as error:  # noqa: BLE001 - it cannot be run at all: say why
        os.write(writing, json.dumps({"cannot": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    finally:
        os._exit(0)


def _read_until(descriptor: int, deadline: float) -> bytes:
    """Returns what is written until the other side closes or the deadline passes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = b""
    while True:
        if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000.0):
            return data
        part = os.read(descriptor, 1 << 16)
        data += part
        if not part or len(data) > 2 * MAX_ANSWER_BYTES:
            return data


if __name__ == "__main__":
    main()
