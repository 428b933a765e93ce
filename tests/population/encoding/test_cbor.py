from __future__ import annotations

import struct
import time

import dag_cbor
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multiformats import CID

from population.encoding.cbor import MAX_DEPTH, Link, decode, encode
from population.encoding.cid import cid_of
from population.errors import FormatError

LINKS = st.binary(max_size=4).map(lambda data: Link(cid_of(data, "raw")))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.binary(max_size=300)
    | LINKS
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5))


@given(VALUES)
def test_what_was_encoded_is_decoded(value):
    assert repr(decode(encode(value))) == repr(_sorted(value))


@given(VALUES)
def test_bytes_equal_those_of_the_package_alone(value):
    assert encode(value) == dag_cbor.encode(_for_package(value))


@given(st.dictionaries(KEYS, SCALARS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert encode(dict(items)) == encode(value)


def test_tuples_are_lists():
    assert encode((1, (2,))) == encode([1, [2]])


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_32_levels_are_encoded_and_decoded_and_33_are_not():
    assert decode(encode(_nested(MAX_DEPTH))) == _nested(MAX_DEPTH)
    with pytest.raises(FormatError, match="32 levels"):
        encode(_nested(MAX_DEPTH + 1))
    with pytest.raises(FormatError, match="32 levels"):
        decode(b"\x81" * (MAX_DEPTH + 1) + b"\x01")


def test_a_smaller_depth_may_be_asked_for_but_not_a_larger():
    with pytest.raises(FormatError, match="deeper than 2"):
        decode(encode([[[1]]]), max_depth=2)
    with pytest.raises(FormatError, match="deeper than 32"):
        decode(b"\x81" * 50 + b"\x01", max_depth=1000)


CID_BYTES = bytes(CID.decode(cid_of(b"", "raw")))
HOSTILE = {
    "empty": b"",
    "two items": b"\x01\x01",
    "depth bomb": b"\x81" * 900_000,
    "map depth bomb": b"\xa1\x60" * 400_000,
    "tag depth bomb": b"\xd8\x2a" * 400_000,
    "list of 2**64 - 1": b"\x9b" + b"\xff" * 8,
    "map of 2**63": b"\xbb\x80" + bytes(7),
    "bytes of 2**63": b"\x5b\x80" + bytes(7),
    "text of 2**40": b"\x7b" + (2**40).to_bytes(8, "big") + b"x",
    "indefinite list": b"\x9f\x01\xff",
    "indefinite text": b"\x7f\x61a\xff",
    "break": b"\xff",
    "reserved length": b"\x1c",
    "integer not minimal": b"\x18\x01",
    "long integer not minimal": b"\x1b" + bytes(8),
    "duplicate keys": b"\xa2\x61a\x01\x61a\x02",
    "unsorted keys": b"\xa2\x61b\x01\x61a\x02",
    "long key before short": b"\xa2\x62aa\x01\x61b\x02",
    "number as key": b"\xa1\x01\x02",
    "half float": b"\xf9\x3c\x00",
    "single float": b"\xfa\x3f\x80\x00\x00",
    "NaN": b"\xfb" + struct.pack(">d", float("nan")),
    "infinity": b"\xfb" + struct.pack(">d", float("inf")),
    "undefined": b"\xf7",
    "simple value": b"\xf8\xff",
    "bad UTF-8": b"\x61\xff",
    "surrogate": b"\x63\xed\xa0\x80",
    "date tag": b"\xc0\x61a",
    "big number tag": b"\xc2\x41\x01",
    "link of nothing": b"\xd8\x2a\x40",
    "link without zero": b"\xd8\x2a\x58\x25\x01" + CID_BYTES,
    "link that is text": b"\xd8\x2a\x78\x25" + b"a" * 37,
    "link with SHA-256": b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20" + bytes(32),
    "link with tag not minimal": b"\xd9\x00\x2a\x58\x25\x00" + CID_BYTES,
    "link as key": b"\xa1\xd8\x2a\x58\x25\x00" + CID_BYTES + b"\x01",
    "cut short": encode({"a": [1, 2, 3]})[:-1],
    "too long": b"\x5a\x00\x20\x00\x00" + bytes(1 << 21),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_refused_within_a_moment(data):
    start = time.monotonic()
    with pytest.raises(FormatError):
        decode(data)
    assert time.monotonic() - start < 5


@settings(max_examples=500)
@given(st.binary(max_size=60))
@example(b"\xa1\x60\xa1\x60\x80")
def test_any_bytes_are_decoded_canonically_or_refused(data):
    _decode_or_refuse(data)


@settings(max_examples=500)
@given(VALUES.map(encode).filter(bool), st.data())
def test_damaged_bytes_are_decoded_canonically_or_refused(data, draw):
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        position = draw.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = draw.draw(st.integers(0, 255) | st.sampled_from([0x9B, 0xBB, 0xD8, 0x2A, 0xFB, 0x5B]))
    _decode_or_refuse(bytes(damaged))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        2**64,
        -(2**64) - 1,
        {1: 2},
        {"a": {2: 1}},
        {1, 2},
        object(),
        "\ud800",
        1j,
    ],
)
def test_what_cbor_cannot_say_is_refused(value):
    with pytest.raises(FormatError):
        encode(value)


def test_a_link_to_no_cid_is_refused():
    with pytest.raises(FormatError, match="content id"):
        Link("../up")


def _decode_or_refuse(data: bytes) -> None:
    try:
        value = decode(data)
    except FormatError:
        return
    assert encode(value) == data


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key.encode()))}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _for_package(value: object) -> object:
    if isinstance(value, Link):
        return CID.decode(value.cid)
    if isinstance(value, dict):
        return {key: _for_package(item) for key, item in value.items()}
    return [_for_package(item) for item in value] if isinstance(value, list) else value
