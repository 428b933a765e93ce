"""The seam for every durable effect: files that are whole or absent, appends that last, a lock that names its holder.

`LocalFiles` is the disk, `MemoryFiles` keeps the same contract in memory for tests and simulation. Whoever writes to
disk is handed one of them; nobody calls `open` beside it.

Nouns: atomic write (temporary file, fsync, link or rename, fsync of the folder), append (a write at the end of a file).
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from population.errors import DamageError, Locked, NotFound, StoreCorrupt
from population.files.memory_files import TEMPORARY_PREFIX, MemoryFiles
from population.files.os_errors import told

__all__ = ["FileSystem", "LocalFiles", "MemoryFiles", "read_small"]

_MAX_LOCK_BYTES: Final = 64
_MAX_OPEN_FILES: Final = 128  # of one group; well below the usual limit of 1024 (256 on macOS) for a process


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
        """Removes a file. Raises: NotFound."""
        ...

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        """Makes a folder and the missing ones above it; `mode` holds for the last, less the umask, if it is new."""
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


_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


@contextmanager
def _opened(path: Path, flags: int, mode: int = 0o666) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_data(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no sync of folders; nothing can be done there
            raise
    finally:
        os.close(descriptor)


#: Folders whose names this process has synced: one that stands may have been made by a process that died before its sync.
_lasting: set[Path] = set()


def _make_folders(path: Path, mode: int = 0o777) -> None:
    stands = os.path.isdir(path)
    if stands and path in _lasting:
        return
    if path.parent != path:
        _make_folders(path.parent)
    if not stands:
        _make_folder(path, mode)
    elif os.access(path.parent, os.W_OK):  # where we may not write, we did not make it
        _sync_folder(path.parent)
    _lasting.add(path)


def _make_folder(path: Path, mode: int) -> None:
    try:
        os.mkdir(path, mode)
        _sync_folder(path.parent)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    except OSError:
        with suppress(OSError):  # a folder that may not last must be made, and synced, again
            os.rmdir(path)
        raise


def _put_in_place(temporary: Path, path: Path, *, replace: bool) -> bool:
    """Gives a finished temporary file its name; whether it took the place."""
    if replace:
        os.replace(temporary, path)
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # A file system without hard links: two writers of one name may both get here, and the later one wins. The
        # store's objects are equal when their names are, and all else is written under a lock.
        if os.path.lexists(path):
            return False
        os.replace(temporary, path)
    return True


def _write_group(contents: Mapping[Path, bytes], mode: int, *, replace: bool) -> int:
    """Writes each file whole and syncs each folder once, in this order: all temporaries, their syncs, names, folders.

    Returns: how many files were written; the others stood there already.
    """
    wanted = [path for path in contents if replace or not os.path.lexists(path)]
    temporaries = {path: path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}" for path in wanted}
    try:
        with ExitStack() as stack:
            descriptors = {}
            for path in wanted:
                with told(path, "write"):
                    _make_folders(path.parent)
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                    stack.enter_context(told(path, "write"))  # for the close, when all are written
                    descriptors[path] = stack.enter_context(_opened(temporaries[path], flags, 0o600))
                    _write_all(descriptors[path], contents[path])
                    os.fchmod(descriptors[path], mode)
            for path in wanted:
                with told(path, "write"):
                    os.fsync(descriptors[path])
        num_written = 0
        for path in wanted:
            with told(path, "write"):
                num_written += _put_in_place(temporaries[path], path, replace=replace)
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(temporary)
    # Also for what stood already: its writer may not have come to the sync of the folder yet.
    for folder in sorted({path.parent for path in contents}):
        with told(folder, "write in"):
            _sync_folder(folder)
    return num_written


class LocalFiles:
    """The file systems of this machine."""

    def read_bytes(self, path: Path) -> bytes:
        with told(path, "read"), _opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            chunks = []
            while chunk := os.read(descriptor, 1 << 24):
                chunks.append(chunk)
            return b"".join(chunks)

    def append(self, path: Path, data: bytes) -> None:
        with told(path, "append to"):
            _make_folders(path.parent)
            is_new = not os.path.lexists(path)
            with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
                length = os.fstat(descriptor).st_size
                is_done = False
                try:
                    _write_all(descriptor, data)
                    _sync_data(descriptor)
                    if is_new:
                        _sync_folder(path.parent)
                    is_done = True
                finally:
                    if not is_done:
                        with suppress(OSError):  # the first error is the one to tell
                            os.ftruncate(descriptor, length)
                            os.fsync(descriptor)  # so that what is appended next never lies among what was cut

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        return _write_group({path: data}, mode, replace=replace) == 1

    def write_many(self, contents: Mapping[Path, bytes], mode: int = 0o444) -> None:
        items = list(contents.items())
        for start in range(0, len(items), _MAX_OPEN_FILES):
            _write_group(dict(items[start : start + _MAX_OPEN_FILES]), mode, replace=False)

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def list(self, path: Path) -> list[str]:
        try:
            with told(path, "list"):
                return sorted(name for name in os.listdir(path) if not name.startswith(TEMPORARY_PREFIX))
        except NotFound:
            return []

    def size(self, path: Path) -> int:
        with told(path, "read"):
            return os.lstat(path).st_size

    def remove(self, path: Path) -> None:
        with told(path, "remove"):
            os.unlink(path)
            _sync_folder(path.parent)

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        with told(path, "make the folder"):
            _make_folders(path, mode)

    def truncate(self, path: Path, size: int) -> None:
        with told(path, "truncate"), _opened(path, os.O_WRONLY) as descriptor:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)

    def settle(self, path: Path, start: int = 0) -> None:
        with told(path, "sync"):
            if not os.path.isdir(path):
                with _opened(path, os.O_RDWR) as descriptor:
                    while chunk := os.pread(descriptor, 1 << 24, start):
                        start += os.pwrite(descriptor, chunk, start)
                    os.fsync(descriptor)
            _sync_folder(path.parent)

    def note(self, path: Path, data: bytes) -> None:
        with told(path, "write"), _opened(path, os.O_WRONLY | os.O_CREAT) as descriptor:
            os.pwrite(descriptor, data, 0)

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        with told(path, "lock"):
            _make_folders(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with told(path, "lock"):
                _take_lock(descriptor, path)
            yield
        finally:
            # Closing alone would leave the lock with a child that was forked meanwhile.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            with suppress(OSError):  # nothing was written that a failed close could lose
                os.close(descriptor)


def _take_lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, _MAX_LOCK_BYTES, 0).decode("ascii", "replace").strip() or "(not known yet)"
        gone = "" if _may_live(holder) else " (which has ended: a process that it started holds it still)"
        raise Locked(
            f"{path} is locked by process {holder}{gone}; wait until it ends, or end it, and try again"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)


def _may_live(holder: str) -> bool:
    try:
        os.kill(int(holder), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (PermissionError, ValueError):
        return True
    return True
