"""A disk that loses power: what system calls leave behind when not everything that was written had reached the platter.

`SimulatedOs` stands for `os` in population.files.local_files and keeps, for every file and folder, what is durable and the
operations since its last sync. `crash_state` draws what a machine could find after power came back: unsynced writes
dropped, reordered or torn at sectors, lengths without data, names that were not yet durable, in any combination that no
sync forbids. Files are reached by names: a file whose name is lost is lost.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from population.files import local_files as files_module
from population.files.local_files import MemoryFiles
from population.files.memory_files import TEMPORARY_PREFIX

SECTOR = 512


class Killed(BaseException):
    """The process is gone; what it wrote is in the machine's memory still."""


class File:
    """One file: what the machine shows, what is durable, and what was done since the last sync."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.durable, self.pending = data, data, list[tuple[int, bytes | None]]()

    def write(self, offset: int, data: bytes) -> None:
        self.data = _written(self.data, offset, data)
        self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        self.data = self.data[:size].ljust(size, b"\0")
        self.pending.append((size, None))

    def sync(self) -> None:
        self.durable, self.pending = self._versions()[-1], []

    def forget(self, generator: np.random.Generator) -> None:
        """What a failed sync does: a part reached the disk, and the machine believes that all of it did."""
        self.durable, self.pending = self.crashed(generator), []

    def _versions(self) -> list[bytes]:
        versions = [self.durable]
        for offset, data in self.pending:
            last = versions[-1]
            versions.append(_written(last, offset, data) if data is not None else last[:offset].ljust(offset, b"\0"))
        return versions

    def crashed(self, generator: np.random.Generator) -> bytes:
        if not self.pending:
            return self.durable
        versions = self._versions()
        kind = generator.integers(6)
        if kind == 0:
            return versions[0]
        if kind == 1:
            return versions[-1]
        size = len(versions[generator.integers(len(versions))]) if kind != 2 else max(map(len, versions))
        count = -(-size // SECTOR)
        if kind == 3:  # in order, up to some sector
            reached, index = generator.integers(count + 1), generator.integers(1, len(versions))
            chosen = np.where(np.arange(count) < reached, index, index - 1)
            size = min(size, max(len(versions[index - 1]), int(reached) * SECTOR)) if generator.integers(2) else size
        elif kind == 4:  # all but one
            chosen = np.full(count, len(versions) - 1)
            if count:
                chosen[generator.integers(count)] = 0
        else:
            chosen = generator.integers(len(versions), size=count)
        parts = [versions[v][s * SECTOR : (s + 1) * SECTOR].ljust(SECTOR, b"\0") for s, v in enumerate(chosen.tolist())]
        return b"".join(parts)[:size]


def _written(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset].ljust(offset, b"\0") + new + data[offset + len(new) :]


class Folder:
    """One folder: its names as the machine shows them, the durable ones, and what was done since its last sync.

    A sync that fails may lose names that were given to files, never those of new folders: a file system keeps these in its
    own journal, and one that cannot write that takes no further writes, so nothing is acknowledged over the loss.
    """

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.durable: dict[str, File | Folder] = {}
        self.pending: list[Callable[[dict[str, File | Folder]], object]] = []

    def change(self, change: Callable[[dict[str, File | Folder]], object]) -> None:
        change(self.names)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            change(self.durable)
        self.pending = []

    def forget(self, generator: np.random.Generator) -> None:
        self.durable = self.crashed(generator)
        new = {name: found for name, found in self.names.items() if isinstance(found, Folder)}
        self.pending = [lambda names: names.update(new)] if new.keys() - self.durable.keys() else []

    def crashed(self, generator: np.random.Generator) -> dict[str, File | Folder]:
        found = dict(self.durable)
        if self.pending:
            kind = generator.integers(4)
            for index, change in enumerate(self.pending):
                if kind == 1 or (kind == 2 and index < len(self.pending) // 2) or (kind == 3 and generator.integers(2)):
                    change(found)
        return found


class SimulatedOs:
    """Stands for `os` in population.files.local_files; `before` is called before every call that changes something.

    An OSError that it raises is what that call fails with; a sync that fails forgets a part of what it should have written.
    """

    def __init__(self, generator: np.random.Generator, before: Callable[[str], None] = lambda name: None) -> None:
        self.root, self._before, self._generator = Folder(), before, generator
        self._open: dict[int, list[Any]] = {}
        self.path = SimpleNamespace(lexists=self._stands, isdir=lambda path: self._stands(path, Folder))

    def __getattr__(self, name: str) -> Any:
        if name.isupper() or name in ("getpid", "kill", "strerror"):
            return getattr(os, name)
        raise AttributeError(name)

    # ---- the calls -------------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        parent, name = self._parent(path)
        found = parent.names.get(name) if name else parent
        if found is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "missing", str(path))
            self._before("open")
            found = made = File()
            parent.change(lambda names: names.__setitem__(name, made))
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "there", str(path))
        descriptor = 1000 + len(self._open)
        self._open[descriptor] = [found, 0, bool(flags & os.O_APPEND)]
        return descriptor

    def close(self, descriptor: int) -> None:
        self._open[descriptor][0] = None

    def read(self, descriptor: int, count: int) -> bytes:
        found = self._open[descriptor]
        data = found[0].data[found[1] : found[1] + count]
        found[1] += len(data)
        return data

    def write(self, descriptor: int, data: Any) -> int:
        self._before("write")
        found = self._open[descriptor]
        start = len(found[0].data) if found[2] else found[1]
        found[0].write(start, bytes(data))
        found[1] = start + len(data)
        return len(data)

    def pread(self, descriptor: int, count: int, start: int) -> bytes:
        return self._open[descriptor][0].data[start : start + count]

    def pwrite(self, descriptor: int, data: Any, start: int) -> int:
        self._before("pwrite")
        self._open[descriptor][0].write(start, bytes(data))
        return len(data)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._before("ftruncate")
        self._open[descriptor][0].truncate(size)

    def fsync(self, descriptor: int) -> None:
        try:
            self._before("fsync")
        except OSError:
            self.forget(descriptor)
            raise
        self._open[descriptor][0].sync()

    fdatasync = fsync

    def forget(self, descriptor: int) -> None:
        """A sync that fails."""
        self._open[descriptor][0].forget(self._generator)

    def fchmod(self, descriptor: int, mode: int) -> None:
        pass

    def access(self, path: Path, mode: int) -> bool:
        return len(path.parts) > 1

    def fstat(self, descriptor: int) -> Any:
        return SimpleNamespace(st_size=len(self._open[descriptor][0].data))

    def lstat(self, path: Path) -> Any:
        found = self._find(path)
        is_file = isinstance(found, File)
        return SimpleNamespace(
            st_size=len(found.data) if is_file else 0, st_mode=stat.S_IFREG if is_file else stat.S_IFDIR
        )

    def listdir(self, path: Path) -> list[str]:
        found = self._find(path)
        if isinstance(found, File):
            raise NotADirectoryError(errno.ENOTDIR, "a file", str(path))
        return list(found.names)

    def link(self, source: Path, target: Path) -> None:
        parent, name = self._parent(target)
        if name in parent.names:
            raise FileExistsError(errno.EEXIST, "there", str(target))
        self._before("link")
        file = self._find(source)
        parent.change(lambda names: names.__setitem__(name, file))

    def replace(self, source: Path, target: Path) -> None:
        assert source.parent == target.parent
        self._before("replace")
        parent, name = self._parent(target)
        file = self._find(source)
        parent.change(lambda names: (names.pop(source.name, None), names.__setitem__(name, file)))

    def unlink(self, path: Path) -> None:
        parent, name = self._parent(path)
        if name not in parent.names:
            raise FileNotFoundError(errno.ENOENT, "missing", str(path))
        self._before("unlink")
        parent.change(lambda names: names.pop(name, None))

    def rmdir(self, path: Path) -> None:
        if self.listdir(path):
            raise OSError(errno.ENOTEMPTY, "not empty", str(path))
        self.unlink(path)

    def rename(self, source: Path, target: Path) -> None:
        """From one folder to another, each of which may forget its part."""
        self._before("rename")
        (left, old), (taken, new), moved = self._parent(source), self._parent(target), self._find(source)
        taken.change(lambda names: names.__setitem__(new, moved))
        left.change(lambda names: names.pop(old, None))

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        parent, name = self._parent(path)
        if name in parent.names:
            raise FileExistsError(errno.EEXIST, "there", str(path))
        self._before("mkdir")
        made = Folder()
        parent.change(lambda names: names.__setitem__(name, made))

    # ---- what there is -----------------------------------------------------------------------------------------------

    def _parent(self, path: Path) -> tuple[Folder, str]:
        if len(path.parts) < 2:
            return self.root, ""
        found = self._find(path.parent)
        if isinstance(found, File):
            raise NotADirectoryError(errno.ENOTDIR, "a file", str(path))
        return found, path.name

    def _find(self, path: Path) -> Any:
        found: File | Folder = self.root
        for part in path.parts[1:]:
            if isinstance(found, File):
                raise NotADirectoryError(errno.ENOTDIR, "a file", str(path))
            if part not in found.names:
                raise FileNotFoundError(errno.ENOENT, "missing", str(path))
            found = found.names[part]
        return found

    def _stands(self, path: Path, kind: type = object) -> bool:
        try:
            return isinstance(self._find(path), kind)
        except OSError:
            return False

    def crash_state(self) -> dict[Path, bytes | None]:
        """Draws what is found when power comes back: content by path, None for a folder; no temporary files."""
        found: dict[Path, bytes | None] = {}
        self._crash(self.root, Path("/"), found)
        return found

    def _crash(self, folder: Folder, path: Path, found: dict[Path, bytes | None]) -> None:
        for name, entry in folder.crashed(self._generator).items():
            if isinstance(entry, Folder):
                found[path / name] = None
                self._crash(entry, path / name, found)
            elif not name.startswith(TEMPORARY_PREFIX):
                found[path / name] = entry.crashed(self._generator)

    def restore(self, state: dict[Path, bytes | None]) -> None:
        """Begins again with what a crash left, all of it durable."""
        self.root = Folder()
        for path, data in sorted(state.items()):
            parent, name = self._parent(path)
            parent.names[name] = parent.durable[name] = Folder() if data is None else File(data)


def in_memory(state: dict[Path, bytes | None]) -> MemoryFiles:
    """Returns a crash state as files in memory."""
    files = MemoryFiles()
    files._files = {path: data for path, data in state.items() if data is not None}
    files._modes = dict.fromkeys(files._files, 0o644)
    files._folders = {Path("/"), *(path for path, data in state.items() if data is None)}
    return files


@contextmanager
def simulated(disk: Any) -> Iterator[None]:
    """One process on a simulated disk: LocalFiles works through it, and its locks end with the context."""
    lock = SimpleNamespace(flock=lambda descriptor, operation: None, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB)
    lock.LOCK_UN = fcntl.LOCK_UN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "os", disk)
        patch.setattr(files_module, "fcntl", lock)
        patch.setattr(files_module, "_lasting", set())
        yield
