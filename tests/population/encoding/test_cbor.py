from __future__ import annotations

import math
import struct
import time

import dag_cbor
import pytest
from dag_cbor.decoding import CBORDecodingError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multiformats import CID

from population.encoding.cbor import MAX_DEPTH, Link, decode, encode
from population.encoding.cid import cid_of, cid_of_bytes
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


TAGS = [0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 42, 43, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799]
TAGGED = [
    b"\x01",
    b"\x41\x07",
    b"\x61a",
    b"\x82\x01\x02",
    b"\xa1\x01\x02",
    b"\x6a2026-01-02",
    b"\x44\x7f\x00\x00\x01",
    b"\x80",
]


@pytest.mark.parametrize("tag", TAGS)
def test_no_tag_builds_anything(tag):
    """The package makes dates, patterns, fractions, addresses, sets, big numbers and shared references of them."""
    link = b"\x58\x25\x00" + CID_BYTES
    for inner in [*TAGGED, b"\xd8\x1d\x00", b"\xd8\x2a" + link, *([] if tag == 42 else [link])]:
        for data in (_head(6, tag) + inner, b"\x81" + _head(6, tag) + inner, b"\xa1" + _head(6, tag) + inner + b"\x01"):
            with pytest.raises(FormatError):
                decode(data)


@pytest.mark.parametrize("simple", range(256))
def test_of_simple_values_only_three_are_read(simple):
    """The package reads all of them, as `undefined` or as a value of its own."""
    for data in {_head(7, simple), b"\xf8" + bytes([simple])} - {b"\xf4", b"\xf5", b"\xf6"}:
        with pytest.raises(FormatError):
            decode(data)


def _head(major: int, argument: int, width: int | None = None) -> bytes:
    """The head of an item, in its shortest form or in one of 1, 2, 4 or 8 bytes more."""
    if width is None and argument < 24:
        return bytes([major << 5 | argument])
    width = width or next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes([major << 5 | 23 + width.bit_length()]) + argument.to_bytes(width, "big")


@st.composite
def sloppy_heads(draw, major, argument):
    """A head, rarely in a longer form than needed."""
    if draw(st.integers(0, 30)):
        return _head(major, argument)
    return _head(major, argument, draw(st.sampled_from([size for size in (1, 2, 4, 8) if argument < 1 << 8 * size])))


@st.composite
def sloppy_strings(draw, major=None):
    data = draw(st.sampled_from([b"", b"a", b"b", b"aa", "é".encode(), b"\xff", b"\x00" + CID_BYTES]))
    return draw(sloppy_heads(major or draw(st.sampled_from([2, 3])), len(data))) + data


@st.composite
def sloppy_links(draw):
    tag = draw(sloppy_heads(6, draw(st.sampled_from([42] * 30 + TAGS))))
    return tag + draw(st.just(b"\x58\x25\x00" + CID_BYTES) | sloppy_strings())


@st.composite
def sloppy_floats(draw):
    code, form = draw(st.sampled_from([(0xFB, ">d")] * 8 + [(0xFA, ">f"), (0xF9, ">e")]))
    return bytes([code]) + struct.pack(
        form, draw(st.sampled_from([0.0, -0.0, 1.5, 3.0, math.nan, math.inf, -math.inf]))
    )


@st.composite
def sloppy_lists(draw, inner):
    items = draw(st.lists(inner, max_size=4))
    return draw(sloppy_heads(4, len(items))) + b"".join(items)


@st.composite
def sloppy_maps(draw, inner):
    keys = draw(st.lists(sloppy_strings(3) | sloppy_strings(3) | inner, max_size=3, unique=draw(st.booleans())))
    if draw(st.booleans()):
        keys.sort(key=lambda key: (len(key), key))
    return draw(sloppy_heads(5, len(keys))) + b"".join(key + draw(inner) for key in keys)


SLOPPY = st.recursive(
    st.sampled_from([0, 1, 23, 24, 255, 256, 2**32, 2**64 - 1]).flatmap(
        lambda number: sloppy_heads(0, number) | sloppy_heads(1, number)
    )
    | sloppy_strings()
    | sloppy_links()
    | sloppy_floats()
    | st.sampled_from([b"\xf4", b"\xf5", b"\xf6"])
    | st.sampled_from([b"\xf4"] * 20 + [b"\xf7", b"\xf8\x18", b"\xff", b"\x9f\xff", b"\x5f\xff", b"\xe0"]),
    lambda inner: sloppy_lists(inner) | sloppy_maps(inner),
    max_leaves=12,
)


@settings(max_examples=300)
@given(SLOPPY | SLOPPY.map(lambda data: data + b"\x00") | st.binary(max_size=20))
def test_what_is_read_and_what_is_refused_is_as_by_the_package_alone(data):
    """The oracle is the other package's strict reader, with our limits and our links."""
    expected = _read_by_the_oracle(data)
    if expected is FormatError:
        with pytest.raises(FormatError):
            decode(data)
    else:
        assert repr(decode(data)) == repr(expected)
        assert encode(decode(data)) == data


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
        assert _read_by_the_oracle(data) is FormatError
        return
    assert encode(value) == data
    assert repr(_read_by_the_oracle(data)) == repr(value)


def _read_by_the_oracle(data: bytes) -> object:
    """The value, or FormatError itself where these bytes are refused."""
    try:
        value = _from_package(dag_cbor.decode(data), MAX_DEPTH)
    except (CBORDecodingError, ValueError, TypeError, LookupError, OverflowError):
        return FormatError
    return value if dag_cbor.encode(_for_package(value)) == data else FormatError


def _from_package(value: object, levels_left: int) -> object:
    if isinstance(value, CID):
        return Link(cid_of_bytes(bytes(value)))
    if isinstance(value, dict | list) and levels_left == 0:
        raise ValueError("too deep")
    if isinstance(value, dict):
        return {key: _from_package(item, levels_left - 1) for key, item in value.items()}
    return [_from_package(item, levels_left - 1) for item in value] if isinstance(value, list) else value


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
