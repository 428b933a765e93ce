"""What the machine's refusals mean: every OSError becomes a StorageError or NotFound with the path and a remedy.

Nouns: none.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from population.errors import NotFound, StorageError

REMEDIES: Final[dict[int, str]] = {
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
    errno.ENOTEMPTY: "the folder is not empty; look what is in it, and move that away",
}


def _refuse(error: OSError, path: Path, action: str) -> NoReturn:
    if error.errno == errno.ENOENT:
        raise NotFound(f"cannot {action} {path}: there is no such file") from error
    name = errno.errorcode.get(error.errno or 0, "no errno")
    remedy = REMEDIES.get(error.errno or 0, f"{error.strerror or error}; see what the operating system says about it")
    raise StorageError(f"cannot {action} {path}: {remedy} ({name})") from error


@contextmanager
def told(path: Path, action: str) -> Iterator[None]:
    """Turns an OSError inside into a StorageError or NotFound that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        _refuse(error, path, action)
