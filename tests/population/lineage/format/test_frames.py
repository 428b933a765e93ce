"""Frames: what is a prefix, what is a tear, what is damage."""

from __future__ import annotations

import struct

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from population.errors import LineageCorrupt, NewerHome
from population.lineage.format.frames import COMMIT, GENESIS, HEADER_SIZE, OPEN, encode_frame, scan


def _noise(seed: int, size: int) -> bytes:
    return blake3(bytes([seed])).digest(size)


def _log(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """Returns a journal of these payloads and where each of its frames ends."""
    data, previous, ends = b"", GENESIS, []
    for sequence, payload in enumerate(payloads):
        frame, previous = encode_frame(COMMIT if sequence else OPEN, sequence, len(data), previous, payload)
        data += frame
        ends.append(len(data))
    return data, ends


PAYLOADS = [_noise(0, 60), _noise(1, 700), b"", _noise(2, 1900)]
DATA, ENDS = _log(PAYLOADS)


def test_a_log_gives_back_its_payloads():
    tail = scan(DATA, "log", GENESIS, 0)
    assert [frame.payload for frame in tail.frames] == PAYLOADS
    assert (tail.end, tail.torn_bytes) == (len(DATA), 0)


@pytest.mark.parametrize("size", range(0, len(DATA), 7))
def test_a_cut_log_is_a_prefix_of_frames_and_tells_its_torn_bytes(size):
    whole = [end for end in ENDS if end <= size]
    tail = scan(DATA[:size], "log", GENESIS, 0)
    assert [frame.payload for frame in tail.frames] == PAYLOADS[: len(whole)]
    assert tail.torn_bytes == size - (whole[-1] if whole else 0)


def test_every_flipped_bit_is_found_in_the_last_frame_too():
    for position in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(LineageCorrupt, match=r"damaged at byte \d+"):
            scan(bytes(damaged), "log", GENESIS, 0)


def test_damage_names_where_the_damaged_frame_begins_and_what_to_do():
    damaged = bytearray(DATA)
    damaged[ENDS[0] + HEADER_SIZE + 5] ^= 1
    with pytest.raises(LineageCorrupt, match=f"log: damaged at byte {ENDS[0]}: .* Restore this file from a copy"):
        scan(bytes(damaged), "log", GENESIS, 0)


def test_a_sector_that_was_never_written_is_a_tear_in_the_last_frame():
    damaged = bytearray(DATA)
    damaged[3 * 512 : 4 * 512] = bytes(512)
    assert ENDS[2] < 3 * 512
    tail = scan(bytes(damaged), "log", GENESIS, 0)
    assert (len(tail.frames), tail.end) == (3, ENDS[2])


def test_an_empty_sector_before_a_synced_frame_is_damage():
    payloads = [_noise(0, 60), _noise(1, 1500), _noise(2, 60)]
    data, ends = _log(payloads)
    damaged = bytearray(data)
    damaged[512:1024] = bytes(512)
    with pytest.raises(LineageCorrupt, match=f"damaged at byte {ends[0]}: .*were synced"):
        scan(bytes(damaged), "log", GENESIS, 0)


def test_a_frame_that_was_not_counted_as_synced_may_be_lost_with_what_follows():
    first, chain = encode_frame(OPEN, 0, 0, GENESIS, b"first")
    second, chain = encode_frame(COMMIT, 1, len(first), chain, _noise(1, 1500))
    third, _ = encode_frame(COMMIT, 2, len(first), chain, b"third")
    data = bytearray(first + second + third)
    data[512:1024] = bytes(512)
    tail = scan(bytes(data), "log", GENESIS, 0)
    assert [frame.payload for frame in tail.frames] == [b"first"]


def test_bytes_that_begin_no_frame_are_damage():
    with pytest.raises(LineageCorrupt, match="begin no frame"):
        scan(DATA + b"hello", "log", GENESIS, 0)


def test_a_frame_left_out_breaks_the_chain():
    with pytest.raises(LineageCorrupt, match="does not follow"):
        scan(DATA[: ENDS[0]] + DATA[ENDS[1] :], "log", GENESIS, 0)


def test_a_log_of_another_chain_is_refused():
    with pytest.raises(LineageCorrupt, match="broken chain"):
        scan(DATA, "log", bytes([1]) * 32, 0)


def test_a_frame_of_a_newer_version_is_told_apart_from_damage():
    header = bytearray(DATA[: HEADER_SIZE - 8])
    struct.pack_into("<H", header, 4, 2)
    newer = bytes(header) + blake3(bytes(header)).digest(8) + DATA[HEADER_SIZE:]
    with pytest.raises(NewerHome, match="upgrade the program"):
        scan(newer, "log", GENESIS, 0)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_any_payloads_come_back(payloads):
    data, _ = _log(payloads)
    assert [frame.payload for frame in scan(data, "log", GENESIS, 0).frames] == payloads
