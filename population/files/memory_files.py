"""Files in memory, with the contract of `population.files.protocol.FileSystem`: for tests and simulation.

Nouns: none beyond those of `population.files.protocol`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from population.errors import Locked, NotFound, StorageError
from population.files.os_errors import REFUSALS

TEMPORARY_PREFIX: Final = ".tmp-"


class MemoryFiles:
    """Files in memory, with the contract of `FileSystem`; nothing lasts. For one thread."""

    def __init__(self) -> None:
        self._files: dict[Path, bytes] = {}
        self._modes: dict[Path, int] = {}
        self._folders: set[Path] = set()
        self._locks: set[Path] = set()

    def read_bytes(self, path: Path) -> bytes:
        if path in self._folders:
            raise StorageError(f"cannot read {path}: {REFUSALS[errno.EISDIR].words()} (EISDIR)")
        if path not in self._files:
            raise NotFound(f"cannot read {path}: there is no such file")
        return self._files[path]

    def append(self, path: Path, data: bytes) -> None:
        self.make_dirs(path.parent)
        self._refuse_folder(path, "append to")
        self._files[path] = self._files.get(path, b"") + bytes(data)
        self._modes.setdefault(path, 0o644)

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        self.make_dirs(path.parent)
        if not replace and self.exists(path):
            return False
        self._refuse_folder(path, "write")
        self._files[path], self._modes[path] = bytes(data), mode
        return True

    def write_many(self, contents: Mapping[Path, bytes], mode: int = 0o444) -> None:
        for path, data in contents.items():
            self.write_atomic(path, data, mode)

    def exists(self, path: Path) -> bool:
        return path in self._files or path in self._folders

    def list(self, path: Path) -> list[str]:
        if path in self._files:
            raise StorageError(f"cannot list {path}: {REFUSALS[errno.ENOTDIR].words()} (ENOTDIR)")
        names = {each.name for each in (*self._files, *self._folders) if each.parent == path and each != path}
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def size(self, path: Path) -> int:
        return 0 if path in self._folders else len(self.read_bytes(path))

    def remove(self, path: Path) -> None:
        if path in self._folders:
            if any(each.parent == path for each in (*self._files, *self._folders) if each != path):
                raise StorageError(f"cannot remove {path}: {REFUSALS[errno.ENOTEMPTY].words()} (ENOTEMPTY)")
            self._folders.discard(path)
            return
        self.read_bytes(path)
        del self._files[path], self._modes[path]

    def remove_tree(self, path: Path, aside: Path) -> None:
        for place in (path, aside):
            self._folders -= {folder for folder in self._folders if folder.is_relative_to(place)}
            for file in [file for file in self._files if file.is_relative_to(place)]:
                self.remove(file)

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        del mode  # nobody else can look into memory
        if path in self._folders:
            return
        for folder in (path, *path.parents):
            if folder in self._files:
                raise StorageError(f"cannot make the folder {path}: {REFUSALS[errno.ENOTDIR].words()} (ENOTDIR)")
        self._folders.update((path, *path.parents))

    def make_folder(self, path: Path) -> bool:
        self.make_dirs(path.parent)
        if self.exists(path):
            return False
        self._folders.add(path)
        return True

    def truncate(self, path: Path, size: int) -> None:
        data = self.read_bytes(path)
        self._files[path] = data[:size] + bytes(max(0, size - len(data)))

    def settle(self, path: Path, start: int = 0) -> None:
        del start  # nothing is ever half written here
        if not self.exists(path):
            raise NotFound(f"cannot sync {path}: there is no such file")

    def note(self, path: Path, data: bytes) -> None:
        self.write_atomic(path, data, 0o644, replace=True)

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        if path in self._locks:
            raise Locked(f"{path} is locked by process {os.getpid()}; wait until it ends and try again")
        self.write_atomic(path, f"{os.getpid()}\n".encode("ascii"), 0o644, replace=True)
        self._locks.add(path)
        try:
            yield
        finally:
            self._locks.discard(path)

    def _refuse_folder(self, path: Path, action: str) -> None:
        if path in self._folders:
            raise StorageError(f"cannot {action} {path}: {REFUSALS[errno.EISDIR].words()} (EISDIR)")
