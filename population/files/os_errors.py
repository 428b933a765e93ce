"""What the machine's refusals mean: every OSError becomes a StorageError or NotFound with the path and a remedy.

The one table of them: of files in a home, of files that a user names, and of what reaches the command line from anywhere.

Nouns: *refusal* (an errno in words).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from population.errors import NotFound, StorageError


@dataclass(frozen=True)
class Refusal:
    """One errno in words: why, and what to do. ``is_of_place``: another home may do better."""

    reason: str
    remedy: str
    is_of_place: bool = False

    def words(self, *, in_home: bool = True) -> str:
        """Returns reason and remedy; for a file of a home also that another home may do."""
        return f"{self.reason}; {self.remedy}" + (", or choose another --home" if in_home and self.is_of_place else "")


REFUSALS: Final[dict[int, Refusal]] = {
    errno.ENOSPC: Refusal("the disk is full", "free some space and run the command again"),
    errno.EDQUOT: Refusal("the disk quota is used up", "free some space or ask for more, then run the command again"),
    errno.EACCES: Refusal("no permission", "change the owner or mode of the file, or that of a folder above it", True),
    errno.EPERM: Refusal("the operation is not permitted", "change the owner or flags of the file", True),
    errno.EROFS: Refusal("the file system is read-only", "remount it writable", True),
    errno.EMFILE: Refusal("this process has too many open files", "raise `ulimit -n`"),
    errno.ENFILE: Refusal("the machine has too many open files", "close some programs"),
    errno.ELOOP: Refusal(
        "it is a symbolic link where none may be, or its links go round in a circle", "put the file itself in its place"
    ),
    errno.EIO: Refusal("the disk reports an error", "check it (dmesg, smartctl) and restore the file from a copy"),
    errno.EFBIG: Refusal("the file would exceed the largest size allowed", "raise `ulimit -f`, or free some space"),
    errno.ENAMETOOLONG: Refusal("its name is too long", "choose a shorter one", True),
    errno.ENOTDIR: Refusal("a part of its path is a file, not a folder", "move that file away", True),
    errno.EISDIR: Refusal("it is a folder where a file was expected", "move it away"),
    errno.ENOTEMPTY: Refusal("the folder is not empty", "look what is in it, and move that away"),
}


def reason_of(error: OSError) -> str:
    """Returns why the machine refused, without a remedy."""
    refusal = REFUSALS.get(error.errno or 0)
    return refusal.reason if refusal else error.strerror or str(error)


def words_of(error: OSError, *, in_home: bool = True) -> str:
    """Returns why the machine refused, and the remedy."""
    refusal = REFUSALS.get(error.errno or 0)
    return (
        refusal.words(in_home=in_home)
        if refusal
        else f"{reason_of(error)}; see what the operating system says about it"
    )


def typed(error: OSError, path: Path, action: str) -> NotFound | StorageError:
    """Returns the error that a refused action on a path is."""
    if error.errno == errno.ENOENT:
        return NotFound(f"cannot {action} {path}: there is no such file")
    name = errno.errorcode.get(error.errno or 0, "no errno")
    return StorageError(f"cannot {action} {path}: {words_of(error)} ({name})")


def typed_anywhere(error: OSError) -> NotFound | StorageError | None:
    """Returns what an OSError is that nobody expected where it was met; None where it may be a fault of ours."""
    if error.errno == errno.ENOENT and error.filename is not None:
        return NotFound(
            f"{error.filename}: there is no such file; if it was removed meanwhile, put it back from a copy or run the "
            "command again"
        )
    if error.errno not in REFUSALS:
        return None
    return StorageError(f"{error.filename}: {words_of(error)}" if error.filename else words_of(error))


@contextmanager
def told(path: Path, action: str) -> Iterator[None]:
    """Turns an OSError inside into a StorageError or NotFound that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise typed(error, path, action) from error
