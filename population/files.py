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
from typing import Final, NoReturn, Protocol

from population.errors import Locked, NotFound, StorageError

TEMPORARY_PREFIX: Final = ".tmp-"
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

    def lock(self, path: Path) -> AbstractContextManager[None]:
        """Holds the lock named by `path` while the context lasts; does not wait.

        Raises: Locked, naming the process that holds it.
        """
        ...


_REMEDIES: Final[dict[int, str]] = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space or ask for more, then run the command again",
    errno.EACCES: "no permission; change the owner or mode of the file or folder, or choose another --home",
    errno.EPERM: "the operation is not permitted; change the owner or flags of the file, or choose another --home",
    errno.EROFS: "the file system is read-only; remount it writable or choose another --home",
    errno.EMFILE: "this process has too many open files; raise `ulimit -n`",
    errno.ENFILE: "the machine has too many open files; close some programs",
    errno.ELOOP: "it is a symbolic link, and links are not followed here; put the file itself in its place",
    errno.EIO: "the disk reports an error; check it (dmesg, smartctl) and restore the file from a copy",
    errno.EFBIG: "the file would exceed the largest size allowed; raise `ulimit -f`",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter --home",
    errno.ENOTDIR: "a part of the path is a file, not a folder; move that file away or choose another --home",
    errno.EISDIR: "it is a folder where a file was expected; move it away",
}
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})


def _refuse(error: OSError, path: Path, action: str) -> NoReturn:
    if error.errno == errno.ENOENT:
        raise NotFound(f"cannot {action} {path}: there is no such file") from error
    name = errno.errorcode.get(error.errno or 0, "no errno")
    remedy = _REMEDIES.get(error.errno or 0, f"{error.strerror or error}; see what the operating system says about it")
    raise StorageError(f"cannot {action} {path}: {remedy} ({name})") from error


@contextmanager
def _told(path: Path, action: str) -> Iterator[None]:
    """Turns an OSError inside into a StorageError or NotFound that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        _refuse(error, path, action)


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


def _make_folders(path: Path, mode: int = 0o777) -> None:
    if path.is_dir():
        return
    if path.parent != path:
        _make_folders(path.parent)
    try:
        os.mkdir(path, mode)
        _sync_folder(path.parent)
    except FileExistsError:
        if not path.is_dir():
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
                with _told(path, "write"):
                    _make_folders(path.parent)
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                    descriptors[path] = stack.enter_context(_opened(temporaries[path], flags, 0o600))
                    _write_all(descriptors[path], contents[path])
                    os.fchmod(descriptors[path], mode)
            for path in wanted:
                with _told(path, "write"):
                    os.fsync(descriptors[path])
        num_written = 0
        for path in wanted:
            with _told(path, "write"):
                num_written += _put_in_place(temporaries[path], path, replace=replace)
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(temporary)
    # Also for what stood already: its writer may not have come to the sync of the folder yet.
    for folder in sorted({path.parent for path in contents}):
        with _told(folder, "write in"):
            _sync_folder(folder)
    return num_written


class LocalFiles:
    """The file systems of this machine."""

    def read_bytes(self, path: Path) -> bytes:
        with _told(path, "read"), _opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            chunks = []
            while chunk := os.read(descriptor, 1 << 24):
                chunks.append(chunk)
            return b"".join(chunks)

    def append(self, path: Path, data: bytes) -> None:
        with _told(path, "append to"):
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
            with _told(path, "list"):
                return sorted(name for name in os.listdir(path) if not name.startswith(TEMPORARY_PREFIX))
        except NotFound:
            return []

    def size(self, path: Path) -> int:
        with _told(path, "read"):
            return os.lstat(path).st_size

    def remove(self, path: Path) -> None:
        with _told(path, "remove"):
            os.unlink(path)
            _sync_folder(path.parent)

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        with _told(path, "make the folder"):
            _make_folders(path, mode)

    def truncate(self, path: Path, size: int) -> None:
        with _told(path, "truncate"), _opened(path, os.O_WRONLY) as descriptor:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)

    @contextmanager
    def lock(self, path: Path) -> Iterator[None]:
        with _told(path, "lock"):
            _make_folders(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with _told(path, "lock"):
                _take_lock(descriptor, path)
            yield
        finally:
            # Closing alone would leave the lock with a child that was forked meanwhile.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _take_lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, _MAX_LOCK_BYTES, 0).decode("ascii", "replace").strip() or "(not known yet)"
        raise Locked(f"{path} is locked by process {holder}; wait until it ends, or end it, and try again") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)


class MemoryFiles:
    """Files in memory, with the contract of `FileSystem`; nothing lasts. For one thread."""

    def __init__(self) -> None:
        self._files: dict[Path, bytes] = {}
        self._modes: dict[Path, int] = {}
        self._folders: set[Path] = set()
        self._locks: set[Path] = set()

    def read_bytes(self, path: Path) -> bytes:
        if path in self._folders:
            raise StorageError(f"cannot read {path}: {_REMEDIES[errno.EISDIR]} (EISDIR)")
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
            raise StorageError(f"cannot list {path}: {_REMEDIES[errno.ENOTDIR]} (ENOTDIR)")
        names = {each.name for each in (*self._files, *self._folders) if each.parent == path and each != path}
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def size(self, path: Path) -> int:
        return 0 if path in self._folders else len(self.read_bytes(path))

    def remove(self, path: Path) -> None:
        self.read_bytes(path)
        del self._files[path], self._modes[path]

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        del mode  # nobody else can look into memory
        for folder in (path, *path.parents):
            if folder in self._files:
                raise StorageError(f"cannot make the folder {path}: {_REMEDIES[errno.ENOTDIR]} (ENOTDIR)")
        self._folders.update((path, *path.parents))

    def truncate(self, path: Path, size: int) -> None:
        data = self.read_bytes(path)
        self._files[path] = data[:size] + bytes(max(0, size - len(data)))

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
            raise StorageError(f"cannot {action} {path}: {_REMEDIES[errno.EISDIR]} (EISDIR)")
