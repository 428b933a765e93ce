"""Reads bytes with Arrow so that none of its threads holds a Python object.

A thread of Arrow's pool may release its source after the read has returned. Where the source is a Python object, that
thread needs the interpreter's lock; an interpreter that ends meanwhile ends the thread inside C++, and so the
whole process (``terminate called without an active exception``, exit code 134, up to Python 3.13).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(data: bytes) -> pa.Table:
    """Returns the rows of a Parquet file's bytes, read on this thread alone.

    ``pyarrow.parquet.read_table`` is not used: it reads on threads of Arrow's pool, also with ``use_threads=False``.

    Raises: pyarrow.ArrowException; OSError, where the bytes are no such file.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def own_copy(data: bytes) -> pa.BufferReader:
    """Returns a source with a copy of the bytes in Arrow's own memory, for readers that always start a thread (CSV)."""
    copy = pa.allocate_buffer(len(data))
    memoryview(copy).cast("B")[:] = data
    return pa.BufferReader(copy)
