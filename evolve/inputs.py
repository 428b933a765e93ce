"""Reads the input files of the runtime: .npz (an array a channel), .npy and .csv (a single input), .json, and raw rows.

Nothing is unpickled, and everything is bounded before it is read. Nouns: none beyond those of blocks.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.arrays import read_npy, read_npz
from fitness.tables.read import SUFFIXES, read_table
from population.errors import InputError, NotFound, StorageError
from population.files import LocalFiles

MAX_FILE_BYTES = 1 << 30
MAX_JSON_BYTES = 1 << 26

Array = npt.NDArray[Any]
Reader = Callable[[bytes], Array | Mapping[str, Array]]


def read_inputs(path: Path) -> Array | Mapping[str, Array]:
    """Returns the array of a file with a single input, or the arrays of one that names channels.

    Raises:
        NotFound: there is no such file. InputError: it is not in its format, or too large; StorageError: no permission.
    """
    readers: Mapping[str, Reader] = {".npz": read_npz, ".npy": read_npy, ".csv": _read_csv, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"--input {path}: the name must end in {', '.join(readers)}")
    data = _read(path, MAX_JSON_BYTES if path.suffix.lower() == ".json" else MAX_FILE_BYTES)
    try:
        return reader(data)
    except InputError as error:
        raise InputError(f"--input {path}: {error}") from error
    except (
        ValueError,
        EOFError,
        OSError,
        MemoryError,
        zipfile.BadZipFile,
        RecursionError,
        NotImplementedError,
    ) as error:
        raise InputError(f"--input {path}: not readable as {path.suffix}: {str(error)[:200]}") from error


def read_rows(path: Path) -> Mapping[str, Array]:
    """Returns the columns of a file of raw rows (CSV, Parquet, or JSON: a list of rows), as their decoder takes them.

    Raises:
        NotFound, InputError, StorageError: as ``read_inputs``.
    """
    form = SUFFIXES[path.suffix.lower()]
    data = _read(path, MAX_JSON_BYTES if form == "json" else MAX_FILE_BYTES)
    try:
        return read_table(data, form).columns
    except InputError as error:
        raise InputError(f"--input {path}: {error}") from error


def _read(path: Path, most: int) -> bytes:
    files = LocalFiles()
    full = path.resolve()
    try:
        if full.is_dir():
            raise InputError(f"--input {path}: it is a folder; name a file")
        if files.size(full) > most:
            raise InputError(f"--input {path}: has {files.size(full):,} bytes, at most {most:,} are read; split it")
        return files.read_bytes(full)
    except NotFound:
        raise NotFound(f"--input {path}: there is no such file") from None
    except PermissionError as error:
        raise StorageError(f"--input {path}: no permission") from error


def _read_csv(data: bytes) -> Array:
    """Returns ``[rows, columns]``; a first line that holds no numbers is taken as a header."""
    lines = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    if lines and not _is_numbers(lines[0]):
        lines = lines[1:]
    if not lines:
        raise InputError("holds no rows")
    widths = {line.count(",") + 1 for line in lines}
    if len(widths) > 1:
        raise InputError(f"its rows have different numbers of columns, {min(widths)} to {max(widths)}")
    try:
        return np.array([[float(cell) for cell in line.split(",")] for line in lines], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"every cell below the header must be a number: {error}") from error


def _is_numbers(line: str) -> bool:
    try:
        [float(cell) for cell in line.split(",")]
    except ValueError:
        return False
    return True


def _read_json(data: bytes) -> Array | dict[str, Array]:
    value = json.loads(data)
    if isinstance(value, dict):
        return {str(channel): _array(channel, entry) for channel, entry in value.items()}
    return _array(None, value)


def _array(channel: str | None, value: Any) -> Array:
    where = f"channel {channel!r}: " if channel is not None else ""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{where}its lists have different lengths: {error}") from error
    if array.dtype.kind not in "iufb":
        raise InputError(f"{where}expected nested lists of numbers")
    return array
