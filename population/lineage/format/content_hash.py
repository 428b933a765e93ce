"""The content hash of a lineage: BLAKE3 over its canonical rows, column by column, whatever files they lie in.

Noun: a *stream*, the values of one column of one table over the whole lineage, each hashed by itself; the content hash is
the hash of all streams' hashes in the order of their names. Left out: clocks, handles, storage positions, incidents,
events. NaN has one form, -0.0 is not 0.0. LINEAGE.md says it byte by byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from population.lineage.format.births import sealed_schema
from population.lineage.format.commits import Chunk
from population.lineage.format.rare_rows import canonical_json
from population.lineage.format.schema import TABLES

_NOT_HASHED = {"handle", "step", "batch"}
_NULL_LENGTH = 0xFFFFFFFF
_CONTEXT = "evolve 2026 lineage content"
_QUIET_NAN = np.uint64(0x7FF8000000000000)


class ContentHash:
    """Takes a lineage's chunks in order and gives its content hash."""

    def __init__(self) -> None:
        """Begins with an empty lineage."""
        self._streams: dict[str, Any] = {}
        self._previous_campaign = ""

    def update(self, chunk: Chunk) -> None:
        """Adds the rows of the next commits."""
        if "births" in chunk.tables:
            for column in sealed_schema():
                if column.name not in _NOT_HASHED:
                    for piece in chunk.tables["births"][column.name].chunks:
                        self._column(f"births.{column.name}", piece)
        for table, columns in TABLES.items():
            if table in chunk.tables:
                names = [column.name for column in columns if column.is_hashed]
                self._rows(table, chunk.tables[table].select(names))

    def hexdigest(self) -> str:
        """Returns the content hash of what was added so far, 64 hex characters."""
        total = blake3(derive_key_context=_CONTEXT)
        for name in sorted(self._streams):
            total.update(name.encode() + b"\0" + self._streams[name].digest())
        found: str = total.hexdigest()
        return found

    def _stream(self, name: str) -> Any:
        if name not in self._streams:
            self._streams[name] = blake3()
        return self._streams[name]

    def _column(self, name: str, values: pa.Array) -> None:
        """Adds one column's values to its streams: numbers, text, or lists of either."""
        if not len(values):
            return
        if pa.types.is_list(values.type):
            self._lengths(name, pc.list_value_length(values))
            self._column(name + "[]", values.flatten())
        elif pa.types.is_string(values.type):
            self._lengths(name, pc.binary_length(values))
            self._stream(name).update(_joined(values))
        elif pa.types.is_floating(values.type):
            numbers = values.to_numpy(zero_copy_only=False)
            bits = np.where(np.isnan(numbers), _QUIET_NAN, numbers.view(np.uint64))
            self._stream(name).update(bits.astype("<u8").tobytes())
        else:
            self._stream(name).update(np.ascontiguousarray(values.to_numpy()).tobytes())

    def _lengths(self, name: str, lengths: pa.Array) -> None:
        filled = pc.fill_null(lengths.cast(pa.int64()), _NULL_LENGTH)
        self._stream(name + ".length").update(filled.to_numpy().astype("<u4").tobytes())

    def _rows(self, table: str, rows: pa.Table) -> None:
        """Adds rare rows as JSON lines; a campaign row that changes nothing that counts (a pause, say) leaves no trace."""
        for row in rows.to_pylist():
            line = canonical_json({name: _plain(value) for name, value in row.items() if value is not None})
            if table == "campaigns":
                if line in ("{}", self._previous_campaign):
                    continue
                self._previous_campaign = line
            self._stream(table).update(line.encode() + b"\n")


def _plain(value: Any) -> Any:
    """Returns a map (a list of pairs, in Arrow) as a mapping; everything else as it is."""
    return dict(value) if isinstance(value, list) else value


def _joined(values: pa.Array) -> bytes:
    """Returns the UTF-8 bytes of all texts, one after the other."""
    texts = pc.fill_null(values, "")
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = texts.buffers()[2]
    if data is None:
        return b""
    joined: bytes = data[int(offsets[0]) : int(offsets[-1])].to_pybytes()
    return joined
