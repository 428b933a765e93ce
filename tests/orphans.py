"""Processes that a test started, below it or left by their parents: found in the kernel's own lists."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PR_SET_CHILD_SUBREAPER = 36


def children_of(pid: int) -> list[int]:
    """The process's children, whichever thread of it started them, by the kernel's own lists; none when it is gone."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with (
                suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{pid}/task/{task}/children", "rb") as children,
            ):
                found += [int(word) for word in children.read().split()]
    return found


def descendants_of(pid: int) -> list[int]:
    """Its children, and theirs, the nearest first."""
    found = children_of(pid)
    return [*found, *(deeper for child in found for deeper in descendants_of(child))]


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def no_orphans() -> Iterator[None]:
    """Whatever loses its parent meanwhile becomes a child of this process: two seconds after, nothing of it may run."""
    libc = ctypes.CDLL(None)
    before = set(descendants_of(os.getpid()))
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
        deadline = time.monotonic() + 2.0
        while running := [pid for pid in descendants_of(os.getpid()) if pid not in before and is_running(pid)]:
            assert time.monotonic() < deadline, f"{running} are left: {[command_of(pid) for pid in running]}"
            time.sleep(0.02)
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        for pid in set(children_of(os.getpid())) - before:
            if not is_running(pid):
                os.waitpid(pid, 0)


def command_of(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as line:
        return line.read().replace(b"\0", b" ").decode()
