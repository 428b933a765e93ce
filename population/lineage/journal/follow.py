"""Follows the log of one campaign while it is written: what is new since the last look, without reading the rest again.

Nouns: *follower*.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from population.errors import LineageCorrupt, NotFound
from population.files.local_files import FileSystem
from population.files.os_errors import told
from population.lineage.format.commits import chunk_of_frames, commits_of
from population.lineage.format.frames import scan
from population.lineage.format.records import Commit
from population.lineage.journal.segments import Manifest, journal_path, read_manifest, sealed_chunks

_ATTEMPTS = 5


class Follower:
    """Gives each commit of one campaign once, in order. Any number of followers, in any process, beside the writer.

    A look costs one small read where nothing is new, and the new bytes where something is.
    """

    def __init__(self, files: FileSystem, home: Path, handle: str) -> None:
        """Begins before the first commit."""
        self._files, self._home, self._handle = files, home, handle
        self._next_step = 0
        self._journal, self._position, self._chain, self._sequence = -1, 0, b"", 0

    def news(self) -> list[Commit]:
        """Returns the commits since the last call. Raises LineageCorrupt where the log is damaged."""
        attempts, before = 0, Manifest(self._handle)
        while True:
            try:
                return self._look()
            except (LineageCorrupt, NotFound):
                now = read_manifest(self._files, self._home, self._handle)
                attempts = attempts + 1 if now == before else 0  # another one: it was sealed, or merged, while we read
                if attempts == _ATTEMPTS:
                    raise
                before = now

    def _look(self) -> list[Commit]:
        manifest = read_manifest(self._files, self._home, self._handle)
        found: list[Commit] = []
        if manifest.journal != self._journal:
            found += self._sealed(manifest)
        path = journal_path(self._home, self._handle, manifest.journal)
        is_same = manifest.journal == self._journal
        chain = self._chain if is_same else bytes.fromhex(manifest.chain)
        sequence = self._sequence if is_same else manifest.sequence
        position = self._position if is_same else 0
        tail = scan(_bytes_from(path, position), str(path), chain, sequence)
        commits = commits_of(chunk_of_frames(tail.frames, self._handle, str(path)))
        found += [commit for commit in commits if commit.step >= self._next_step]
        if tail.frames:
            chain, sequence = tail.frames[-1].hash, tail.frames[-1].sequence + 1
        self._journal, self._chain, self._sequence = manifest.journal, chain, sequence
        self._position = position + tail.end
        self._next_step = max([self._next_step, *(commit.step + 1 for commit in found)])
        return found

    def _sealed(self, manifest: Manifest) -> list[Commit]:
        new = tuple(segment for segment in manifest.segments if segment.last >= self._next_step)
        chunks = sealed_chunks(self._files, self._home, replace(manifest, segments=new))
        return [commit for chunk in chunks for commit in commits_of(chunk) if commit.step >= self._next_step]


def _bytes_from(path: Path, position: int) -> bytes:
    """Returns the bytes of a file from a place on; none where there is no file, for a campaign that has not begun."""
    if not path.exists():
        if position:
            raise NotFound(f"{path}: it is gone")
        return b""
    with told(path, "read"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, size - position, position) if size > position else b""
        finally:
            os.close(descriptor)
