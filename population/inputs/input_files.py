"""Reads the input files of the runtime: .npz (an array a channel), .npy and .csv (a single input), .json, and raw rows.

Nothing is unpickled, and everything is bounded before it is read. Nouns: none beyond those of blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from population.errors import InputError
from population.files.user_file import read_user_file
from population.inputs.archives import read_npy, read_npz
from population.inputs.table_bounds import check_csv, check_json, look_for
from population.inputs.table_files import SUFFIXES, read_table

MAX_FILE_BYTES = 1 << 30
MAX_JSON_BYTES = 1 << 26

Array = npt.NDArray[Any]
Reader = Callable[[bytes], Array | Mapping[str, Array]]


def read_inputs(path: Path) -> Array | Mapping[str, Array]:
    """Returns the array of a file with a single input, or the arrays of one that names channels.

    Raises:
        NotFound: there is no such file. InputError: it is no file, not in its format, too large, or may not be read.
        StorageError: the machine cannot read it.
    """
    readers: Mapping[str, Reader] = {".npz": read_npz, ".npy": read_npy, ".csv": _read_csv, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"--input {path}: the name must end in {', '.join(readers)}")
    data = _read(path, path.suffix.lower().removeprefix("."))
    try:
        return reader(data)
    except InputError as error:
        raise InputError(f"--input {path}: {error}") from error


def read_rows(path: Path) -> Mapping[str, Array]:
    """Returns the columns of a file of raw rows (CSV, Parquet, or JSON: a list of rows), as their decoder takes them.

    Raises:
        NotFound, InputError, StorageError: as ``read_inputs``.
    """
    form = SUFFIXES[path.suffix.lower()]
    data = _read(path, form)
    try:
        return read_table(data, form).columns
    except InputError as error:
        raise InputError(f"--input {path}: {error}") from error


def _read(path: Path, form: str) -> bytes:
    where = f"--input {path}"
    most = MAX_JSON_BYTES if form == "json" else MAX_FILE_BYTES
    return read_user_file(path, most, where, remedy="split it", look=look_for(form, where, InputError))


def _read_csv(data: bytes) -> Array:
    """Returns ``[rows, columns]``; a first line that holds no numbers is taken as a header."""
    check_csv(data, ",")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not readable as .csv: its text is not utf-8: {error}") from error
    lines = [line for line in text.splitlines() if line.strip()]
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
    check_json(data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"not readable as .json: {str(error)[:200]}") from error
    if isinstance(value, dict):
        return {str(channel): _array(channel, entry) for channel, entry in value.items()}
    return _array(None, value)


def _array(channel: str | None, value: Any) -> Array:
    where = f"channel {channel!r}: " if channel is not None else ""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}its lists have different lengths: {error}") from error
    if array.dtype.kind not in "iufb":
        raise InputError(f"{where}expected nested lists of numbers")
    return array
