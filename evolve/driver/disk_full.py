"""What a driver does when the disk is full: it waits for space and says so; when it has waited enough, it ends as paused.

Nouns: *patience* (how long, and who may end it early), *reserve* (a file that gives its space back, so that the pause itself
can be recorded on a full disk).
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from evolve.campaign.events import Publish
from evolve.display import duration
from evolve.driver.requests import Interrupted, Request
from evolve.recovery.shelf import Shelf
from population.clock import Clock
from population.errors import NotFound, StorageError
from population.files.local_files import FileSystem

RETRY_S = 2.0
RESERVE_FILE = "reserve.bin"
RESERVE_BYTES = 1 << 16
_FULL = (errno.ENOSPC, errno.EDQUOT)

Found = TypeVar("Found")


class DiskFull(StorageError):
    """The disk was full for longer than it was to be waited; what is committed stands."""


def is_full(error: BaseException | None) -> bool:
    """Returns whether an error, or one behind it, says that a disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


@dataclass(frozen=True)
class Patience:
    """Tries again while the disk is full, for at most ``limit_s``. say: tells a person; request: may ask for an end."""

    limit_s: float
    clock: Clock
    say: Callable[[str], None]
    interrupted: threading.Event
    request: Callable[[], Request | None]

    def __call__(self, act: Callable[[], Found]) -> Found:
        """Returns what ``act`` does, as soon as there is space for it.

        Raises:
            DiskFull: there was none for too long, or somebody asked the campaign to end. Interrupted: by Ctrl-C.
        """
        began = self.clock.monotonic()
        is_told = False
        while True:
            try:
                found = act()
                if is_told:
                    self.say("there is space again: going on")
                return found
            except StorageError as error:
                if not is_full(error):
                    raise
                if self.clock.monotonic() - began >= self.limit_s or self.request() is not None:
                    raise DiskFull(str(error)) from error
                if not is_told:
                    self.say(f"{error}. Waiting for space, at most {duration(self.limit_s)} (Ctrl-C ends)")
                is_told = True
            if self.interrupted.wait(RETRY_S):
                raise Interrupted("interrupted while the disk was full; evolve resume does the step again")


@dataclass(frozen=True)
class PatientShelf:
    """A shelf that waits while the disk is full."""

    shelf: Shelf
    patient: Patience

    def keep_rows(self, rows: Sequence[bytes]) -> None:
        """Stores row bytes under their digests."""
        self.patient(lambda: self.shelf.keep_rows(rows))

    def publish(self, row: bytes, tiers: Publish) -> tuple[str, int]:
        """Stores the block of a row; returns its id and the bytes of its tensors."""
        return self.patient(lambda: self.shelf.publish(row, tiers))


def keep_reserve(files: FileSystem, folder: Path) -> None:
    """Takes some space for the worst moment, where there is some; its bytes are such that no file system packs them.

    Without it a pause for want of space may itself find no space to be recorded in: the campaign is then interrupted.
    """
    data = blake3(b"reserve", derive_key_context="evolve 2026 reserve").digest(RESERVE_BYTES)
    with suppress(StorageError):
        files.write_atomic(folder / RESERVE_FILE, data, mode=0o644)


def release_reserve(files: FileSystem, folder: Path) -> None:
    """Gives the space back; nothing where none was taken."""
    with suppress(NotFound):
        files.remove(folder / RESERVE_FILE)
