"""The driver's disk: it refuses for a while, and loses or tears what is not synced when the driver dies.

What a method wrote is durable when it has returned; so only the effect under way may be lost, in part or whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from population.errors import StorageError
from population.files.local_files import FileSystem
from tests.simulation.world import Crash, World

SECTOR_BYTES = 512


class Disk:
    """A ``FileSystem`` over another one, for one life of a driver.

    Args:
        crash_at: the effect, counted from 0, in which the driver dies; None for never.
        refuse_at: the effect from which on three in a row are refused; None for never.
    """

    def __init__(self, inner: FileSystem, world: World, crash_at: int | None, refuse_at: int | None) -> None:
        self._inner, self._world = inner, world
        self._crash_at, self._refuse_at = crash_at, refuse_at
        self.num_effects = 0
        self.is_dead = False

    def read_bytes(self, path: Path) -> bytes:
        """As the file system has it."""
        self._living()
        return self._inner.read_bytes(path)

    def exists(self, path: Path) -> bool:
        """As the file system has it."""
        self._living()
        return self._inner.exists(path)

    def list(self, path: Path) -> list[str]:
        """As the file system has it."""
        self._living()
        return self._inner.list(path)

    def size(self, path: Path) -> int:
        """As the file system has it."""
        self._living()
        return self._inner.size(path)

    def lock(self, path: Path) -> AbstractContextManager[None]:
        """As the file system has it; a lock ends with its process."""
        self._living()
        return self._inner.lock(path)

    def append(self, path: Path, data: bytes) -> None:
        """Appends; a death in its midst leaves a part of the bytes, whole or with sectors that were never written."""
        self._effect(lambda: self._inner.append(path, data), lambda: self._inner.append(path, self._torn(data)))

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o444, *, replace: bool = False) -> bool:
        """Writes a file; a death in its midst leaves the file as it was."""
        done: list[bool] = []
        self._effect(lambda: done.append(self._inner.write_atomic(path, data, mode, replace=replace)), lambda: None)
        return done[0]

    def write_many(self, contents: Mapping[Path, bytes], mode: int = 0o444) -> None:
        """Writes files; a death in its midst leaves some of them."""
        some = {path: data for path, data in contents.items() if self._world.chance(0.5)}
        self._effect(lambda: self._inner.write_many(contents, mode), lambda: self._inner.write_many(some, mode))

    def remove(self, path: Path) -> None:
        """Removes a file."""
        self._effect(lambda: self._inner.remove(path), lambda: None)

    def make_dirs(self, path: Path, mode: int = 0o777) -> None:
        """Makes folders."""
        self._effect(lambda: self._inner.make_dirs(path, mode), lambda: self._inner.make_dirs(path.parent))

    def truncate(self, path: Path, size: int) -> None:
        """Shortens a file."""
        self._effect(lambda: self._inner.truncate(path, size), lambda: None)

    def __getattr__(self, name: str) -> Callable[..., object]:
        """Any other method of the file system is an effect too; a death in its midst is as if it never began."""
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments: object, **named: object) -> object:
            done: list[object] = []
            self._effect(lambda: done.append(getattr(self._inner, name)(*arguments, **named)), lambda: None)
            return done[0]

        return call

    def die(self) -> None:
        """Ends the driver's process here."""
        self.is_dead = True
        self._world.counts["crashes"] += 1
        raise Crash

    def _living(self) -> None:
        if self.is_dead:
            raise Crash  # on its way out a dead process reads nothing

    def _effect(self, act: Callable[[], object], part: Callable[[], object]) -> None:
        if self.is_dead:
            raise Crash
        number, self.num_effects = self.num_effects, self.num_effects + 1
        if number == self._crash_at:
            self._world.rng.choice([lambda: None, part, part, act])()
            self.die()
        if self._refuse_at is not None and self._refuse_at <= number < self._refuse_at + 3:
            self._world.counts["disk errors"] += 1
            raise StorageError("cannot write: the disk is full (ENOSPC)")
        act()

    def _torn(self, data: bytes) -> bytes:
        rng = self._world.rng
        length = rng.randrange(1, len(data)) if len(data) > 1 else 0
        kept = bytearray(data[:length])
        if rng.random() < 0.3:  # the length was written, some sectors were not
            for start in range(0, len(kept), SECTOR_BYTES):
                if rng.random() < 0.5:
                    kept[start : start + SECTOR_BYTES] = bytes(len(kept[start : start + SECTOR_BYTES]))
        return bytes(kept)
