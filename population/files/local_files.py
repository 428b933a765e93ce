"""The disk behind the seam: files that are whole or absent, appends that last, a lock that names its holder.

`MemoryFiles` keeps the same contract (`population.files.protocol`) in memory for tests and simulation.

Nouns: none beyond those of `population.files.protocol`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from population.errors import Locked, NotFound
from population.files.memory_files import TEMPORARY_PREFIX, MemoryFiles
from population.files.os_errors import told
from population.files.protocol import FileSystem, read_small

__all__ = ["FileSystem", "LocalFiles", "MemoryFiles", "read_small"]

_MAX_LOCK_BYTES: Final = 64
_MAX_OPEN_FILES: Final = 128  # of one group; well below the usual limit of 1024 (256 on macOS) for a process


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
    if not _make_new_folder(path, mode) and not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _make_new_folder(path: Path, mode: int) -> bool:
    """Makes one folder that lasts; whether it was not there."""
    try:
        os.mkdir(path, mode)
        _sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError:
        with suppress(OSError):  # a folder that may not last must be made, and synced, again
            os.rmdir(path)
        raise
    return True


def _is_folder(path: Path) -> bool:
    """Whether a folder stands at a path, itself and not by a link. Raises FileNotFoundError."""
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _remove_all(path: Path) -> None:
    """Removes what stands at a path, with all below it."""
    if os.path.lexists(path):
        _remove_below(path)
        _sync_folder(path.parent)


def _remove_below(path: Path) -> None:
    if not _is_folder(path):
        os.unlink(path)
        return
    for name in os.listdir(path):
        _remove_below(path / name)
    os.rmdir(path)


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
            (os.rmdir if _is_folder(path) else os.unlink)(path)
            _sync_folder(path.parent)

    def remove_tree(self, path: Path, aside: Path) -> None:
        with told(path, "remove"):
            _remove_all(aside)
            if os.path.lexists(path):
                os.rename(path, aside)
                _sync_folder(aside.parent)
                _sync_folder(path.parent)
                _remove_all(aside)

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        with told(path, "make the folder"):
            _make_folders(path, mode)

    def make_folder(self, path: Path) -> bool:
        with told(path, "make the folder"):
            _make_folders(path.parent)
            return _make_new_folder(path, 0o777)

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
