from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitness.processes import messages
from population.errors import FormatError


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@given(
    fields=st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5) | st.binary(max_size=5)),
    blobs=st.lists(st.binary(max_size=2000), max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_what_is_sent_is_received(fields: dict[str, object], blobs: list[bytes]) -> None:
    left, right = socket.socketpair()
    with left, right:
        messages.send(left, messages.Message("kind", fields, blobs))
        found = messages.receive(right)
    assert (found.kind, found.fields, [bytes(blob) for blob in found.blobs]) == ("kind", fields, blobs)


def test_a_reader_does_not_read_into_the_next_message(pair: tuple[socket.socket, socket.socket]) -> None:
    for number in range(3):
        messages.send(pair[0], messages.Message("one", {"number": number}, [bytes([number])]))
    assert [messages.receive(pair[1]).fields["number"] for _ in range(3)] == [0, 1, 2]


def test_silence_ends_at_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].send(b"\x05")
    with pytest.raises(messages.DeadlinePassed):
        messages.receive(pair[1], time.monotonic() + 0.05)


def test_a_full_pipe_ends_at_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(messages.DeadlinePassed):
        messages.send(pair[0], messages.Message("big", {}, [bytes(8 << 20)]), time.monotonic() + 0.05)


def test_a_closed_end_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].send(b"\x05\x00")
    pair[0].close()
    with pytest.raises(messages.Closed):
        messages.receive(pair[1])
    with pytest.raises(messages.Closed):
        messages.send(pair[1], messages.Message("x", {}, [bytes(1 << 20)]))


def announce(size: int, header: bytes = b"") -> bytes:
    return struct.pack("<I", size) + header


HOSTILE = {
    "a header of four gigabytes": announce(2**32 - 1),
    "no MessagePack": announce(1, b"\xc1"),
    "a list": announce(1, b"\x90"),
    "an extension": announce(3, b"\xd4\x05x"),
    "text that is none": announce(2, b"\xa1\xff"),
    "a number as a key": announce(3, b"\x81\x01\x01"),
    "more than one value": announce(2, b"\x01\x01"),
    "lists in lists that claim more than there is": announce(5_000, b"\xdd\x00\x00\x13\x00" * 1_000),
    "lists in lists without end": announce(60_000, b"\x91" * 60_000),
    "fields missing": announce(0, msgpack.packb({"kind": 1})),
    "sizes below zero": announce(0, msgpack.packb({"kind": "a", "fields": {}, "blobs": [-1]})),
    "blobs of a terabyte": announce(0, msgpack.packb({"kind": "a", "fields": {}, "blobs": [2**40]})),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes_are_refused_before_anything_is_held(
    case: str, pair: tuple[socket.socket, socket.socket]
) -> None:
    data = HOSTILE[case]
    body = data[4:]
    pair[0].send(struct.pack("<I", len(body)) + body if body else data)
    with pytest.raises(FormatError):
        messages.receive(pair[1], time.monotonic() + 5)
