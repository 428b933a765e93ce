"""Archives and arrays that are damaged, packed oddly or lie about their size: refused in words, in little memory."""

from __future__ import annotations

import resource
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest

from population.errors import InputError
from population.inputs.archives import read_npy, read_npz


def npy(array: object, **header: object) -> bytes:
    """The bytes of an array, with some entries of its header replaced."""
    stream = BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    data = stream.getvalue()
    if not header:
        return data
    size = struct.unpack_from("<H", data, 8)[0]
    made = {"descr": np.asarray(array).dtype.str, "fortran_order": False, "shape": np.shape(array), **header}
    text = repr(made).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data[10 + size :]


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return stream.getvalue()


def test_arrays_of_any_order_and_kind_of_number_come_as_numpy_reads_them() -> None:
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3.5),
        np.array(["a", "bc"]),
    ):
        found = read_npy(npy(array))
        np.testing.assert_array_equal(found, array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
    whole = npy(np.ones((2, 3), np.float32))
    assert read_npy(b"\x93NUMPY\x03\x00" + whole[8:10] + b"\0\0" + whole[10:]).shape == (2, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy([1.0], shape=(10**18,)), "8,000,000,000,000,000,000 bytes of float64, and 8 follow: it is cut or damaged"),
        (npy([1.0], shape=(10**18, 0)), "holds nothing"),
        (npy([1.0], shape=(-1, -1)), "holds nothing"),
        (npy([1.0], shape=(True,)), "holds nothing"),
        (npy([1.0], shape=(1,) * 40), "of 40 axes"),
        (npy([1.0], shape=[1]), "not readable as .npy"),
        (npy([1.0], descr="U0", shape=(10**18,)), "save arrays of numbers or text"),
        (npy([1.0], descr="(2,2)f4"), "save arrays of numbers or text"),
        (npy([1.0], descr=[("a", "f8")]), "save arrays of numbers or text"),
        (npy([1.0], descr=5), "not readable as .npy"),
        (npy([1.0], descr="zz"), "not readable as .npy"),
        (npy([{}]), "holds Python objects"),
        (b"\x80\x04K\x01.", "holds Python objects"),
        (npy([1.0])[:-1], "is cut or damaged"),
        (npy([1.0])[:40], "not readable as .npy"),
        (npy([1.0]) + b"x", "is cut or damaged"),
        (b"\x93NUMPY\x09\x00" + b"x" * 100, "not readable as .npy"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "not readable as .npy"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, "not readable as .npy"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 8999 + b"1", "not readable as .npy"),
        (archive(("a.npy", npy([1.0]))), r"name a file with several of them \.npz"),
    ],
)  # fmt: skip
def test_a_broken_header_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_npy(data)


def _claims(data: bytes, size: int) -> bytes:
    """An archive of one member, whose directory says another unpacked size."""
    place = data.index(b"PK\x01\x02")
    local = data.index(b"PK\x03\x04")
    data = data[: place + 24] + struct.pack("<I", size) + data[place + 28 :]
    return data[: local + 22] + struct.pack("<I", size) + data[local + 26 :]


def _encrypted(data: bytes) -> bytes:
    place = data.index(b"PK\x01\x02")
    return data[: place + 8] + b"\x01\x00" + data[place + 10 :]


def _method(data: bytes, method: int) -> bytes:
    place = data.index(b"PK\x01\x02")
    return data[: place + 10] + struct.pack("<H", method) + data[place + 12 :]


ONE = archive(("x.npy", npy(np.zeros(1000))))
BOMB = archive(("x.npy", npy(np.zeros(100_000_000, np.uint8))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ONE[:-30], "not readable as .npz"),
        (ONE[:60] + b"\xff" * 20 + ONE[80:], "not readable as .npz"),
        (_encrypted(ONE), "array 'x.npy' is encrypted"),
        (_method(ONE, 99), "packed by method 99: save it with numpy.savez_compressed"),
        (archive(("x.npy", npy([1.0])), method=zipfile.ZIP_BZIP2), "packed by method 12"),
        (archive(("x.npy", npy([1.0])), method=zipfile.ZIP_LZMA), "packed by method 14"),
        (archive(("x.npy", npy([{}]))), "array 'x': holds Python objects"),
        (archive(("x.npy", npy([1.0])), ("x", npy([2.0]))), "two arrays named 'x'"),
        (archive(("x", b"no array")), "array 'x': not readable as .npy"),
        (archive(*((f"{n}.npy", b"") for n in range(1025))), "more than 1024 arrays"),
        (archive(), "holds no arrays"),
        (_claims(ONE, 2_000_000_000), "split it"),
        (_claims(ONE, 100), "not readable as .npz"),
        (_claims(BOMB, 200), "not readable as .npz"),
    ],
)
def test_a_broken_archive_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_npz(data)


def _in_a_child(do: Callable[[], object]) -> int:
    """The most memory that a child of this process came to hold beyond what it was born with, in bytes."""
    import os

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            do()
        finally:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            os.write(write, str(grown * 1024).encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        grown = int(answer.read() or b"-1")
    os.waitpid(pid, 0)
    return grown


def test_a_directory_that_lies_costs_no_memory() -> None:
    """The member unpacks to 100 MB; its directory says 200 bytes. zipfile alone unpacks all of it at once."""

    def read() -> None:
        with pytest.raises(InputError):
            read_npz(_claims(BOMB, 200))

    assert 0 <= _in_a_child(read) < 20 << 20


def test_what_unpacks_beyond_the_bound_is_refused_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("population.inputs.archives.MAX_BYTES", 10_000)
    two = archive(*((f"{n}.npy", npy(np.zeros(1000))) for n in range(2)))
    monkeypatch.setattr("builtins.sum", lambda sizes: 0)  # as though the directory said nothing of sizes
    with pytest.raises(InputError, match="split it"):
        read_npz(two)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("number", [0xD800, 0xDFFF, 0x110000])
def test_text_that_is_no_unicode_is_refused(number: int, order: str) -> None:
    """A class called so was sent to the workers, which no encoding can: exit code 70."""
    numbers = np.array([[ord("a"), ord("b")], [ord("c"), number]], f"{order}u4")
    with pytest.raises(InputError, match=f"U\\+{number:04X}, which is no character"):
        read_npy(npy(numbers.view(f"{order}U2")))
    for text in (["a\U0010ffff", "\ud7ff\ue000"], [""]):
        assert read_npy(npy(np.array(text, f"{order}U2"))).tolist() == text
