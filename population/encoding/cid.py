"""Content ids: CIDv1 of the BLAKE3 hash of some bytes, in lower-case base32, as IPFS and its kin write them.

A CID here is always `b` + base32(0x01, codec, 0x1e, 0x20, 32 bytes of digest): 59 characters. Other hashes, other codecs
and other bases are refused, so one object has one name.

Nouns: CID, codec (how the bytes are to be read: `dag-cbor` for a manifest, `raw` for a tensor leaf).
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, Literal

from blake3 import blake3

from population.errors import FormatError

Codec = Literal["dag-cbor", "raw"]

DIGEST_BYTES: Final = 32
CID_CHARACTERS: Final = 59
_PREFIXES: Final[dict[Codec, bytes]] = {"dag-cbor": b"\x01\x71\x1e\x20", "raw": b"\x01\x55\x1e\x20"}
_CODECS: Final[dict[bytes, Codec]] = {prefix: codec for codec, prefix in _PREFIXES.items()}


def cid_of(data: bytes | memoryview, codec: Codec) -> str:
    """The content id of `data`, hashed with BLAKE3.

    >>> cid_of(b"", "raw")
    'bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi'
    """
    return cid_of_digest(blake3(data).digest(), codec)


def cid_of_digest(digest: bytes, codec: Codec) -> str:
    """The content id that says: `codec`, BLAKE3, this digest.

    Raises: FormatError when the codec is unknown or the digest is not 32 bytes.
    """
    if codec not in _PREFIXES or len(digest) != DIGEST_BYTES:
        raise FormatError(f"a CID needs codec dag-cbor or raw and 32 bytes of digest, got {codec!r} and {len(digest)}")
    return cid_of_bytes(_PREFIXES[codec] + digest)


def cid_of_bytes(binary: bytes) -> str:
    """The text of a binary CID (36 bytes, as it stands in a CBOR link after the leading zero).

    Raises: FormatError when the bytes are not a CID of ours.
    """
    if len(binary) != 4 + DIGEST_BYTES or binary[:4] not in _CODECS:
        raise FormatError(f"not a CIDv1 of a BLAKE3 hash with codec dag-cbor or raw: {binary[:40].hex()}")
    return "b" + base64.b32encode(binary).decode("ascii").rstrip("=").lower()


def bytes_of_cid(cid: str) -> bytes:
    """The 36 bytes of a CID given as text.

    Raises: FormatError when `cid` is not exactly the text that `cid_of` gives for some bytes.
    """
    try:
        binary = base64.b32decode(cid[1:].upper() + "======")
    except (binascii.Error, ValueError) as error:
        raise _refusal(cid) from error
    if len(cid) != CID_CHARACTERS or binary[:4] not in _CODECS or cid_of_bytes(binary) != cid:
        raise _refusal(cid)
    return binary


def parse_cid(cid: str) -> tuple[Codec, bytes]:
    """The codec and the digest (32 bytes) that a CID names.

    Raises: FormatError as `bytes_of_cid`.
    """
    binary = bytes_of_cid(cid)
    return _CODECS[binary[:4]], binary[4:]


def digest_of_cid(cid: str) -> bytes:
    """The digest (32 bytes) that a CID names.

    Raises: FormatError as `bytes_of_cid`.
    """
    return parse_cid(cid)[1]


def _refusal(cid: str) -> FormatError:
    return FormatError(
        f"{cid[:80]!r} is not a content id of this store: expected {CID_CHARACTERS} characters of lower-case base32 "
        "(CIDv1, BLAKE3, codec dag-cbor or raw); copy it whole from `evolve blocks list`"
    )
