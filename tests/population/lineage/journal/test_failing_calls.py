"""Every k-th system call of a lineage fails: a typed error, nothing acknowledged is lost, and it may be tried again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from population.clock import ManualClock
from population.errors import InfrastructureError
from population.files import local_files as files_module
from population.files.local_files import LocalFiles
from population.lineage import LineageReader, LineageWriter
from population.lineage.journal.repair import repair_lineage
from population.lineage.journal.segments import journal_path
from tests.population.lineage.journal.test_power_loss import STEPS, Checker
from tests.population.lineage.lineage_samples import sample_commit
from tests.population.lineage.remembered import frames_are_decoded_once
from tests.population.simulated_disk import SimulatedOs, simulated

HANDLE, HOME, COPY, BIRTHS, DONE = "digits-1", Path("/home"), Path("/copy"), 3, 3
#: Everything that LocalFiles asks of the machine.
CALLS = {"open", "close", "read", "write", "pread", "pwrite", "ftruncate", "fsync", "fdatasync", "fchmod", "fstat"}
CALLS |= {"lstat", "listdir", "link", "replace", "unlink", "mkdir", "rmdir"}
KINDS = ("EIO", "ENOSPC", "short write", "EIO from then on")


class FailingOs:
    """Passes calls on to a simulated disk; the k-th fails, before it takes effect or half way through a write."""

    def __init__(self, inner: SimulatedOs) -> None:
        self._inner, self.path = inner, inner.path
        self.fail(-1, "")

    def fail(self, at: int, kind: str) -> None:
        """Counts anew; the call with this number fails, none with -1."""
        self._fail_at, self._kind, self.num_calls = at, kind, 0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return (lambda *arguments: self._call(name, value, arguments)) if name in CALLS else value

    def _call(self, name: str, value: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        number, self.num_calls = self.num_calls, self.num_calls + 1
        if number != self._fail_at and not (self._kind == "EIO from then on" and number > self._fail_at >= 0):
            return value(*arguments)
        code = errno.ENOSPC if self._kind in ("ENOSPC", "short write") else errno.EIO
        if self._kind == "short write" and name in ("write", "pwrite"):
            data = arguments[1]
            value(arguments[0], data[: len(data) // 2], *arguments[2:])
        elif name == "close":
            value(*arguments)
        elif name in ("fsync", "fdatasync"):
            self._inner.forget(arguments[0])
        raise OSError(code, os.strerror(code))


class Case:
    """A home on a simulated disk, brought to where an operation begins."""

    def __init__(self, operation: str) -> None:
        self.disk = SimulatedOs(np.random.Generator(np.random.Philox(5)))
        self.disk.restore({HOME: None, COPY: None})
        self.calls = FailingOs(self.disk)
        self._operation = operation
        self.writer: LineageWriter | None = None

    def _open(self, home: Path = HOME) -> LineageWriter:
        return LineageWriter(LocalFiles(), home, HANDLE, ManualClock())

    def prepare(self) -> None:
        if self._operation == "begin":
            return
        for home in (COPY, HOME) if self._operation == "repair" else (HOME,):
            writer = self._open(home)
            for step in range(DONE):
                writer.commit(sample_commit(step, births=BIRTHS))
                if step == 0:
                    writer.seal()
            if self._operation in ("commit", "seal"):
                self.writer = writer
            else:
                writer.close()
        folder, segments = HOME / "campaigns" / HANDLE, HOME / "lineage" / HANDLE
        if self._operation == "recover":
            LocalFiles().append(journal_path(HOME, HANDLE, 1), b"EVLF")
            LocalFiles().append(folder / "journal-0.log", b"a leftover")
            LocalFiles().append(segments / "births-1-2.parquet", b"a leftover")
        if self._operation == "repair":
            for path in (journal_path(HOME, HANDLE, 1), segments / "births-0-0.parquet", segments / "MANIFEST"):
                LocalFiles().truncate(path, 100)

    def act(self) -> None:
        """Does the operation, once."""
        if self._operation == "repair":
            assert repair_lineage(LocalFiles(), HOME, HANDLE, COPY).report.damaged == ()
        elif self._operation in ("recover", "begin"):
            self._open().close()
        elif self._operation == "seal":
            assert self.writer is not None
            self.writer.seal()
        else:
            assert self.writer is not None
            self.writer.commit(sample_commit(DONE, births=BIRTHS))


def _fail(operation: str, kind: str, k: int, checker: Checker) -> bool:
    """Lets the k-th call fail; returns whether there were as many."""
    case = Case(operation)
    with simulated(case.calls):
        case.prepare()
        case.calls.fail(k, kind)
        error = _error_of(case.act)
        num_calls = case.calls.num_calls
        case.calls.fail(-1, "")
        attempted = 0 if operation == "begin" else DONE + (operation == "commit")
        acknowledged = attempted - (operation == "commit" and error is not None)
        if operation != "repair":
            for _ in range(4):  # power is lost right after the failure
                checker.check(case.disk.crash_state(), acknowledged, attempted, BIRTHS)
        if error is not None and (k % 2 or operation == "repair"):
            again = _error_of(case.act)
            assert again is None or "failed while sealing: open a new one" in str(again)
        if case.writer is not None:
            case.writer.close()
        _finish(acknowledged, attempted, checker)
        if operation != "repair":
            checker.check(case.disk.crash_state(), STEPS, STEPS, BIRTHS)
    assert num_calls > k or error is None
    return num_calls > k


def _error_of(act: Callable[[], None]) -> InfrastructureError | None:
    """Returns the error, which is one of ours: any other is the test's failure."""
    try:
        act()
    except InfrastructureError as error:
        return error
    return None


def _finish(acknowledged: int, attempted: int, checker: Checker) -> None:
    """Goes on as another process would, to the content of a campaign that nothing ever failed."""
    files_module._lasting.clear()
    with LineageWriter(LocalFiles(), HOME, HANDLE, ManualClock()) as writer:
        assert acknowledged <= writer.next_step <= attempted
        for step in range(writer.next_step, STEPS):
            writer.commit(sample_commit(step, births=BIRTHS))
    assert LineageReader(LocalFiles(), HOME).content_hash(HANDLE) == checker.content(BIRTHS)


def _fail_all(operation: str, first: int, stride: int) -> int:
    checker, num_failures = Checker(), 0
    with frames_are_decoded_once():
        for kind in KINDS:
            k = first
            while _fail(operation, kind, k, checker):
                num_failures, k = num_failures + 1, k + stride
            assert k > first
    return num_failures


#: The operations, and of how many calls the quick test lets one fail.
OPERATIONS = {"begin": 11, "commit": 1, "seal": 17, "recover": 19, "repair": 41}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_some_calls_that_fail_give_typed_errors_and_lose_nothing(operation, told):
    told(f"{operation}: {_fail_all(operation, 1, OPERATIONS[operation])} failures, 0 lost")


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_call_that_fails_gives_a_typed_error_and_loses_nothing(operation, told):
    told(f"{operation}: {_fail_all(operation, 0, 1)} failures, every call of {len(KINDS)} kinds, 0 lost")
