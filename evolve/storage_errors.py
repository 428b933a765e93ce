"""What the file system refuses a home, in words.

Nouns: none.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from population.errors import StorageError
from population.files.os_errors import REMEDIES

_NO_PERMISSION = "no permission: choose a --home that you may write to, or change the folder's owner or mode"
_REFUSALS = {
    **REMEDIES,
    errno.ENOSPC: "the disk is full: free some space, or choose another --home",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another --home",
    errno.EFBIG: "the file may not grow any further (a file size limit, see ulimit -f): raise it, or free some space",
    **dict.fromkeys((errno.EACCES, errno.EPERM), _NO_PERMISSION),
    errno.EROFS: "the file system is read-only: choose another --home",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "it is a symbolic link that leads nowhere, or in a circle: put the file itself in its place",
}


def storage_error(error: OSError, path: Path | str | None = None) -> StorageError | None:
    """Returns what the file system refused, with the remedy; None for an error that is no refusal."""
    remedy = _REFUSALS.get(error.errno or 0)
    place = path or error.filename
    return StorageError(f"{place}: {remedy}" if place else str(remedy)) if remedy else None


@contextmanager
def as_storage_error(path: Path) -> Iterator[None]:
    """Turns an OSError inside into a StorageError that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) or StorageError(f"{path}: {error.strerror or error}") from error
