"""Packs: the rows of a keyframe in one file, since a file and its syncs for every row would cost more than the generation.

A pack is two files in ``store/packs``, never changed: ``<cid>.rows`` holds the rows end to end and is named by its content,
``<cid>.index`` says which rows they are: magic ``EVPACK1``, for each row its digest (32 bytes) and size (u64, little-endian),
and the BLAKE3 of all before. The index is written when the rows are durable: a pack without one does not exist.

Nouns: *pack*, *index*.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

from blake3 import blake3

from population.encoding.cid import cid_of
from population.errors import StoreCorrupt
from population.files.local_files import FileSystem

MAGIC: Final = b"EVPACK1\n"
#: Fewer rows than this lie in the store one by one.
LEAST_ROWS: Final = 32
#: Packs that were read are kept in memory up to so many bytes.
MAX_CACHE_BYTES: Final = 256 << 20
_ENTRY: Final = struct.Struct("<32sQ")
_INDEX, _ROWS = ".index", ".rows"
_REMEDY: Final = "restore it from a copy of the store, or remove the pack: its rows are made again from their recipes"


class Packs:
    """The packs of a store. Several processes may read and write at once; `put` returns when the rows are durable."""

    def __init__(self, files: FileSystem, store: Path) -> None:
        self._files = files
        self._root = store / "packs"
        self._indexes: dict[str, dict[bytes, tuple[int, int]]] = {}
        self._places: dict[bytes, str] = {}
        self._cache: dict[str, bytes] = {}

    def put(self, rows: Sequence[bytes]) -> None:
        """Keeps rows under their digests; those that a pack holds already are not written again.

        Raises: StorageError; StoreCorrupt where an index is damaged.
        """
        self._look()
        new = {blake3(row).digest(): row for row in rows}
        held = {self._places[digest] for digest in new if digest in self._places}
        new = {digest: row for digest, row in new.items() if digest not in self._places}
        if held:  # whoever wrote them may not have come to the sync of the folder yet
            self._files.write_many({self._path(name, _INDEX): b"" for name in held})
        if not new:
            return
        data = b"".join(new.values())
        name = cid_of(data, "raw")
        body = MAGIC + b"".join(_ENTRY.pack(digest, len(row)) for digest, row in new.items())
        self._files.write_atomic(self._path(name, _ROWS), data)
        self._files.write_atomic(self._path(name, _INDEX), body + blake3(body).digest())
        self._learn(name)

    def find(self, digest: bytes) -> bytes | None:
        """The bytes of a row, verified, or None where no pack holds it. Raises: StoreCorrupt."""
        if digest not in self._places:
            self._look()
        name = self._places.get(digest)
        if name is None:
            return None
        start, size = self._indexes[name][digest]
        row = self._read(name)[start : start + size]
        if blake3(row).digest() != digest:
            path = self._path(name, _ROWS)
            raise StoreCorrupt(
                f"the row {digest.hex()[:16]} in {path} at byte {start} is not what was written: {_REMEDY}"
            )
        return row

    def names(self) -> list[str]:
        """The packs that are there, sorted."""
        return [name.removesuffix(_INDEX) for name in self._files.list(self._root) if name.endswith(_INDEX)]

    def digests(self, name: str) -> frozenset[bytes]:
        """The digests of the rows of a pack. Raises: NotFound; StoreCorrupt."""
        return frozenset(self._learn(name))

    def check(self, name: str) -> frozenset[bytes]:
        """Reads a pack whole, keeps nothing of it in memory, and returns its rows' digests. Raises: NotFound; StoreCorrupt."""
        entries = self._read_index(self._path(name, _INDEX))
        path = self._path(name, _ROWS)
        data = memoryview(self._files.read_bytes(path))
        start = 0
        for digest, size in entries:
            if blake3(data[start : start + size]).digest() != digest:
                raise StoreCorrupt(
                    f"the row {digest.hex()[:16]} in {path} at byte {start} is not what was written: {_REMEDY}"
                )
            start += size
        if start != len(data) or cid_of(data, "raw") != name:
            raise StoreCorrupt(f"{path} holds {len(data)} bytes that are not those of its name: {_REMEDY}")
        return frozenset(digest for digest, _ in entries)

    def paths(self, name: str) -> tuple[Path, Path]:
        """Where a pack lies, in the order in which its files may be removed."""
        return self._path(name, _INDEX), self._path(name, _ROWS)

    def _path(self, name: str, suffix: str) -> Path:
        return self._root / f"{name}{suffix}"

    def _look(self) -> None:
        for name in self.names():
            self._learn(name)

    def _learn(self, name: str) -> Mapping[bytes, tuple[int, int]]:
        if name not in self._indexes:
            entries = self._read_index(self._path(name, _INDEX))
            starts = accumulate((size for _, size in entries), initial=0)
            self._indexes[name] = {d: (start, size) for (d, size), start in zip(entries, starts, strict=False)}
            for digest, _ in entries:
                self._places.setdefault(digest, name)
        return self._indexes[name]

    def _read_index(self, path: Path) -> list[tuple[bytes, int]]:
        data = self._files.read_bytes(path)
        body, digest = data[:-32], data[-32:]
        is_whole = body.startswith(MAGIC) and (len(body) - len(MAGIC)) % _ENTRY.size == 0
        if not is_whole or blake3(body).digest() != digest:
            raise StoreCorrupt(f"the index {path} is not what was written: {_REMEDY}")
        return [(entry[0], entry[1]) for entry in _ENTRY.iter_unpack(body[len(MAGIC) :])]

    def _read(self, name: str) -> bytes:
        """The rows of a pack; members of one population may lie in many, so that read ones are kept while they fit."""
        if name not in self._cache:
            data = self._files.read_bytes(self._path(name, _ROWS))
            while self._cache and sum(map(len, self._cache.values())) + len(data) > MAX_CACHE_BYTES:
                del self._cache[next(iter(self._cache))]
            self._cache[name] = data
        return self._cache[name]
