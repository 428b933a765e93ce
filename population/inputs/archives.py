"""The bytes of ``.npy`` and ``.npz`` as arrays. Nothing is unpickled; what is unpacked counts, not what a directory claims.

Nouns: none.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from population.errors import InputError

MAX_CHANNELS: Final = 1024
MAX_BYTES: Final = 1 << 30
MAX_RANK: Final = 32
_PIECE_BYTES: Final = 1 << 20
#: What numpy writes; the others may unpack without a bound.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1
#: What numpy and zipfile raise for bytes that are no array or archive.
_UNREADABLE: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, OSError, MemoryError, RecursionError,
    SyntaxError, NotImplementedError, RuntimeError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Array = npt.NDArray[Any]


def read_npz(data: bytes) -> dict[str, Array]:
    """Returns the arrays of an archive by name.

    Raises:
        InputError: it is no archive, is damaged, or holds none, too many, too much, or what only unpickling could read.
    """
    try:
        return _read_archive(data)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"not readable as .npz: {_line(error)}") from error


def read_npy(data: bytes) -> Array:
    """Returns the array of a file. Raises: InputError for bytes that are none, hold nothing, or only unpickling could read."""
    try:
        _check_header(data)
        array: Array = np.load(BytesIO(data), allow_pickle=False)
        _check_text(array)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"not readable as .npy: {_line(error)}") from error
    return array


def joined(inputs: bytes, targets: bytes) -> bytes:
    """Returns the archive of two ``.npy`` files: the arrays "input" and "target". Equal files give equal bytes."""
    stream = BytesIO()
    np.savez(stream, input=_lone(inputs, "the inputs"), target=_lone(targets, "the targets"))
    return stream.getvalue()


def _check_text(array: Array) -> None:
    """Raises InputError for text that is no Unicode: half a surrogate pair, or a number that is no character."""
    if array.dtype.kind != "U":
        return
    numbers = np.ravel(array, order="K").view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    bad = ((numbers >= 0xD800) & (numbers <= 0xDFFF)) | (numbers > 0x10FFFF)
    if bad.any():
        raise InputError(
            f"holds text with U+{int(numbers[bad.argmax()]):04X}, which is no character: write it anew as UTF-8"
        )


def _lone(data: bytes, what: str) -> Array:
    try:
        return read_npy(data)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def _read_archive(data: bytes) -> dict[str, Array]:
    found: dict[str, Array] = {}
    left = MAX_BYTES
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_CHANNELS or sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise _too_much()
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in found:
                raise InputError(f"holds two arrays named {name[:80]!r}: give each a name of its own")
            unpacked = _unpacked(archive, entry, left)
            left -= len(unpacked)
            try:
                found[name] = read_npy(unpacked)
            except InputError as error:
                raise InputError(f"array {name[:80]!r}: {error}") from error
    if not found:
        raise InputError("holds no arrays")
    return found


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int) -> bytes:
    """What a member becomes, in pieces: memory exceeds the bound by one piece at most."""
    where = f"array {entry.filename[:80]!r}"
    if entry.flag_bits & _ENCRYPTED:
        raise InputError(f"{where} is encrypted: save the arrays without a password")
    if entry.compress_type not in _METHODS:
        raise InputError(f"{where} is packed by method {entry.compress_type}: save it with numpy.savez_compressed")
    pieces, size = [], 0
    with archive.open(entry) as stream:
        while piece := stream.read(_PIECE_BYTES):
            size += len(piece)
            if size > most_bytes:
                raise _too_much()
            pieces.append(piece)
    return b"".join(pieces)


def _check_header(data: bytes) -> None:
    """Refuses a header that does not fit the bytes after it, before memory is allocated. Raises: InputError, or others."""
    if data[:2] == b"PK":
        raise InputError("expected one array; name a file with several of them .npz")
    if data[:1] == b"\x80":
        raise _pickled()
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version == (3, 0):  # as 2.0, with names of fields that are not Latin-1
        stream = BytesIO(b"\x93NUMPY\x02\x00" + data[8:])
        np.lib.format.read_magic(stream)
    shape, _, dtype = read[version if version in read else (2, 0)](stream)
    if dtype.hasobject:
        raise _pickled()
    if dtype.itemsize == 0 or dtype.subdtype is not None or dtype.names is not None or len(shape) > MAX_RANK:
        raise InputError(f"holds {str(dtype)[:80]} of {len(shape)} axes: save arrays of numbers or text")
    if not all(type(size) is int and size > 0 for size in shape):
        raise InputError(f"holds nothing: its shape is {str(shape)[:80]}")
    wanted, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if wanted != there:
        raise InputError(f"its header says {wanted:,} bytes of {dtype}, and {there:,} follow: it is cut or damaged")


def _pickled() -> InputError:
    return InputError("holds Python objects, which nobody unpickles here: save arrays of numbers or text")


def _too_much() -> InputError:
    return InputError(f"holds more than {MAX_CHANNELS} arrays or {MAX_BYTES:,} bytes; split it")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
