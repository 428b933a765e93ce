"""The seam for every durable effect: what a file system keeps to, whichever it is.

Whoever writes to disk is handed one; nobody calls `open` beside it.

Nouns: atomic write (temporary file, fsync, link or rename, fsync of the folder), append (a write at the end of a file).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from population.errors import DamageError, StoreCorrupt


class FileSystem(Protocol):
    """Durable effects on files.

    Obligations. Durability: when a method that writes returns, what it did survives the death of the process and of the
    machine. Atomicity: a reader sees the old file, the new file or none, never half of one; `append` alone may leave a
    part of its bytes when the machine dies (a torn tail), and restores the old length when it merely fails. Failure:
    every refusal of the machine is a `StorageError` that names the path and the remedy, a missing file is `NotFound`;
    after either, and after Ctrl-C, no temporary file is left and the call may be repeated. Links: a symbolic link in the
    last place of a path is refused, not followed. Threads: any method may be called from any thread; two writers of one
    path serialise by `lock`. Folders are made when first written into.
    """

    def read_bytes(self, path: Path) -> bytes:
        """The whole content. Raises: NotFound."""
        ...

    def append(self, path: Path, data: bytes) -> None:
        """Adds `data` at the end of the file, made if it is missing."""
        ...

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        """Writes a whole file; without `replace` a file that stands is left as it is.

        Returns: whether the file was written; False means that one stood there already, durably.
        """
        ...

    def write_many(self, contents: Mapping[Path, bytes], mode: int = 0o444) -> None:
        """`write_atomic` without `replace` for each, with one sync of each folder for all.

        Each file is whole or absent; after a failure some may be there and others not.
        """
        ...

    def exists(self, path: Path) -> bool:
        """Whether a file or folder stands at `path`."""
        ...

    def list(self, path: Path) -> list[str]:
        """The sorted names in a folder, without temporary files; empty when there is no such folder."""
        ...

    def size(self, path: Path) -> int:
        """The length in bytes. Raises: NotFound."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file, or a folder that is empty. Raises: NotFound."""
        ...

    def remove_tree(self, path: Path, aside: Path) -> None:
        """Removes a folder with all below it, which is moved to `aside` first, so that nobody sees half of it.

        `aside` has a parent, lies on the same disk, and is nobody else's: what an earlier call left there is removed too.
        Where nothing stands at `path`, only that.
        """
        ...

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        """Makes a folder and the missing ones above it; `mode` holds for the last, less the umask, if it is new."""
        ...

    def make_folder(self, path: Path) -> bool:
        """Makes a folder that nobody had, and the missing ones above it; False where something stands there already."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Shortens a file to `size` bytes. Raises: NotFound."""
        ...

    def settle(self, path: Path, start: int = 0) -> None:
        """Makes last what another process wrote and may not have lived to sync: a file's bytes and its name in its folder.

        The bytes from `start` on are written again in place, since a sync that failed may have forgotten them. Of a
        folder only its name. Raises: NotFound.
        """
        ...

    def note(self, path: Path, data: bytes) -> None:
        """Overwrites a small file (at most 512 bytes, always as many) without a sync.

        The one method whose work may be lost with the machine: the file then holds these bytes, older ones, or none.
        """
        ...

    def lock(self, path: Path) -> AbstractContextManager[None]:
        """Holds the lock named by `path` while the context lasts; does not wait.

        Raises: Locked, naming the process that holds it.
        """
        ...


def read_small(
    files: FileSystem,
    path: Path,
    most_bytes: int,
    remedy: str = "restore it from a copy of the home",
    kind: type[DamageError] = StoreCorrupt,
) -> bytes:
    """Returns the content of a file of at most ``most_bytes``; a longer one is not read.

    Raises: NotFound; StorageError; an error of `kind` where it is longer.
    """
    size = files.size(path)
    if size > most_bytes:
        raise kind(f"{path} is damaged: it has {size:,} bytes, at most {most_bytes:,} are expected; {remedy}")
    return files.read_bytes(path)
