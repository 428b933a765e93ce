"""Processes that a test started, below it or left by their parents: found by psutil."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

PR_SET_CHILD_SUBREAPER = 36


def children_of(pid: int) -> list[int]:
    """The process's children, whichever thread of it started them; none when it is gone."""
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children()]
    return []


def descendants_of(pid: int) -> list[int]:
    """Its children, and theirs; none when it is gone."""
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def is_running(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
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
    """Its command line; empty when it is gone."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(psutil.Process(pid).cmdline())
    return ""
