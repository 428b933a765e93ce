"""Opens a file that a user names: a regular file, read up to a bound; everything else is refused in words.

Links are followed. Devices, pipes, sockets and folders are refused. The bound counts the bytes that are read, not the size that
a file claims.

Nouns: none.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from population.errors import InputError, NotFound, StorageError
from population.files.os_errors import words_of

_CHUNK_BYTES: Final = 1 << 24
_KINDS: Final = (
    (stat.S_ISDIR, "it is a folder: name a file"),
    (stat.S_ISFIFO, "it is a named pipe: write what comes out of it to a file, and name that"),
    (stat.S_ISSOCK, "it is a socket: name a file"),
    (stat.S_ISCHR, "it is a device: name a file"),
    (stat.S_ISBLK, "it is a device: name a file"),
)
_NO_NAME: Final = "no file can have such a name"
#: What whoever named the file can mend: another name, or its permissions.
_CALLERS: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM})
Look = Callable[[bytes], object]


def read_user_file(
    path: Path | str,
    most_bytes: int,
    where: str,
    *,
    remedy: str = "name a smaller file",
    error: type[InputError] = InputError,
    look: Look | None = None,
) -> bytes:
    """Returns the bytes of a regular file, at most ``most_bytes``; links are followed.

    Args:
        where: how messages name the file, as ``--input rows.csv``. remedy: for one that is too large.
        error: the class of what is refused. look: is given the pieces first, in order, and may raise.

    Raises:
        NotFound: there is no such file. InputError (``error``): it is no regular file, has more bytes, or may not be read.
        StorageError: the machine cannot read it.
    """
    try:
        descriptor = _opened(path, where, error)
        try:
            return _read(descriptor, most_bytes, where, remedy, error, look)
        finally:
            os.close(descriptor)
    except OSError as refused:
        raise _told(refused, path, where, error) from refused
    except ValueError as refused:
        if isinstance(refused, InputError):
            raise
        raise error(f"{where[:200]!r}: {_NO_NAME}: {refused}") from refused


def _opened(path: Path | str, where: str, error: type[InputError]) -> int:
    """A descriptor of a regular file; a device is not even opened, since that alone may do something."""
    _check_kind(os.stat(path), where, error)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check_kind(os.fstat(descriptor), where, error)  # it may have been replaced meanwhile
    except InputError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(found: os.stat_result, where: str, error: type[InputError]) -> None:
    for is_kind, words in _KINDS:
        if is_kind(found.st_mode):
            raise error(f"{where}: {words}")


def _read(
    descriptor: int, most_bytes: int, where: str, remedy: str, error: type[InputError], look: Look | None
) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > most_bytes:
        raise error(f"{where}: has {size:,} bytes, at most {most_bytes:,} are read: {remedy}")
    if look is not None:
        _look_through(descriptor, min(size, most_bytes), look)
    chunks: list[bytes] = []
    left = most_bytes + 1
    while chunk := os.read(descriptor, min(max(size + 1, _CHUNK_BYTES), left)):
        chunks.append(chunk)
        left -= len(chunk)
        if not left:
            raise error(f"{where}: has more than the {most_bytes:,} bytes that are read: {remedy}")
    return b"".join(chunks)  # of a single chunk, the chunk itself


def _look_through(descriptor: int, size: int, look: Look) -> None:
    position = 0
    while position < size and (chunk := os.pread(descriptor, min(_CHUNK_BYTES, size - position), position)):
        look(chunk)
        position += len(chunk)


def _told(refused: OSError, path: Path | str, where: str, error: type[InputError]) -> Exception:
    if refused.errno == errno.ENOENT:
        link = f"; it is a link to {os.readlink(path)}" if os.path.islink(path) else ""
        return NotFound(f"{where}: there is no such file{link}")
    if refused.errno == errno.EINVAL:
        return error(f"{where[:200]}: cannot be read: {_NO_NAME}")
    kind = error if refused.errno in _CALLERS else StorageError
    return kind(f"{where[:200]}: cannot be read: {words_of(refused, in_home=False)}")
