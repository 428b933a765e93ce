from __future__ import annotations

from contextlib import suppress

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from multiformats import CID, multihash

from population.encoding.cid import bytes_of_cid, cid_of, cid_of_bytes, cid_of_digest, digest_of_cid, parse_cid
from population.errors import FormatError

CODECS = st.sampled_from(["dag-cbor", "raw"])
EMPTY = "bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi"


@given(st.binary(max_size=200), CODECS)
def test_cids_equal_those_of_an_independent_implementation(data, codec):
    oracle = CID("base32", 1, codec, multihash.digest(data, "blake3", size=32))
    assert cid_of(data, codec) == str(oracle)
    assert bytes_of_cid(cid_of(data, codec)) == bytes(oracle)


@given(st.binary(max_size=200), CODECS)
def test_a_cid_says_codec_and_digest(data, codec):
    cid = cid_of(data, codec)
    assert parse_cid(cid) == (codec, blake3(data).digest())
    assert digest_of_cid(cid) == blake3(data).digest()
    assert cid_of_digest(blake3(data).digest(), codec) == cid
    assert cid_of_bytes(bytes_of_cid(cid)) == cid
    assert cid_of(memoryview(data), codec) == cid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        EMPTY[:-1],
        EMPTY + "a",
        EMPTY.upper(),
        "z" + EMPTY[1:],
        EMPTY[:-1] + "j",  # the same 36 bytes with other left-over bits: one object must have one name
        EMPTY[:-1] + "1",
        EMPTY[:-1] + "İ",
        EMPTY.replace("bafkr", "bafkq"),
        "../../../etc/passwd",
        EMPTY[:30] + "/" + EMPTY[31:],
        EMPTY[:30] + "\0" + EMPTY[31:],
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",  # SHA-256
    ],
)
def test_what_is_not_exactly_a_cid_of_ours_is_refused(text):
    with pytest.raises(FormatError, match="content id"):
        parse_cid(text)


@given(st.text(max_size=70))
def test_any_text_is_parsed_or_refused(text):
    with suppress(FormatError):
        assert cid_of_bytes(bytes_of_cid(text)) == text


@given(st.binary(max_size=40))
def test_any_bytes_are_a_cid_or_refused(data):
    with suppress(FormatError):
        assert bytes_of_cid(cid_of_bytes(data)) == data


def test_a_digest_of_another_length_is_refused():
    with pytest.raises(FormatError, match="31"):
        cid_of_digest(bytes(31), "raw")
