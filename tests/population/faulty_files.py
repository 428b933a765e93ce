"""File systems that fail on purpose, one call at a time: through the seam, and below it at the system calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from population.errors import StorageError
from population.files import local_files as files_module
from population.files.local_files import FileSystem

CHANGES = {"append", "write_atomic", "write_many", "remove", "remove_tree", "make_dirs", "make_folder"}
CHANGES |= {"truncate", "settle", "note"}
SYSTEM_CALLS = {"open", "write", "fsync", "fdatasync", "fchmod", "link", "replace", "mkdir", "read", "listdir", "lstat"}
SYSTEM_CALLS |= {"fstat", "ftruncate", "pwrite", "pread", "rename", "rmdir"}


class FaultyFiles:
    """Passes calls on and fails the k-th (from 0): before it happens, or after it took effect.

    A StorageError, as LocalFiles makes it of ENOSPC and its kin; or any exception given as `error`. With `only_changes`
    calls that merely read, and locks, are neither counted nor failed.
    """

    def __init__(
        self,
        inner: FileSystem,
        fail_at: int = -1,
        *,
        is_after: bool = False,
        error: BaseException | None = None,
        only_changes: bool = False,
    ):
        self._inner, self._fail_at, self._is_after, self._only_changes = inner, fail_at, is_after, only_changes
        self._error = error or StorageError("cannot write: the disk is full (ENOSPC)")
        self.num_calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if self._only_changes and name not in CHANGES:
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            if self._is_now() and not (self._is_after and name in CHANGES):
                raise self._error
            result = method(*arguments, **named)
            if self.num_calls - 1 == self._fail_at:
                raise self._error
            return result

        return call

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        if not self._only_changes and self._is_now():
            raise self._error
        with self._inner.lock(path):
            yield

    def _is_now(self) -> bool:
        self.num_calls += 1
        return self.num_calls - 1 == self._fail_at


class FaultyCalls:
    """Stands for the module `os` in population.files.local_files and makes the k-th of SYSTEM_CALLS fail with an errno."""

    def __init__(self, fail_at: int = -1, code: int = errno.EIO, *, error: BaseException | None = None):
        self._fail_at, self._error = fail_at, error or OSError(code, os.strerror(code))
        self.num_calls = 0

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        if name not in SYSTEM_CALLS:
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self.num_calls += 1
            if self.num_calls - 1 == self._fail_at:
                raise self._error
            return value(*arguments, **named)

        return call


class Everything(set[Path]):
    """Holds whatever is asked for."""

    def __contains__(self, path: object) -> bool:
        return True


@contextmanager
def system_calls(calls: Any) -> Iterator[Any]:
    """Lets LocalFiles work through `calls` while the context lasts; every folder that stands counts as synced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "os", calls)
        patch.setattr(files_module, "_lasting", Everything())
        yield calls


def num_calls_of(make: Callable[[], Callable[[], object]]) -> int:
    """How many system calls an action makes; `make` prepares a fresh place and returns the action."""
    action = make()
    with system_calls(FaultyCalls()) as calls:
        action()
    return calls.num_calls
