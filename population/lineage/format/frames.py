"""The log of one campaign: length-prefixed, BLAKE3-checked, chained frames in one file, and how a damaged one is read.

Nouns: a *frame* is a header, a payload and a hash; a *tail* is what one journal file holds; a *tear* is the unfinished
last append of a process or machine that died. A tear is cut and told; anything else that is not a valid frame is damage
and raises LineageCorrupt. Bytes only: no Arrow, no files.

Frame, little-endian: magic ``EVLF``, version u16, kind u16, sequence u64, payload length u64, synced_upto u64, hash of
the frame before (32 bytes), first 8 bytes of the BLAKE3 of these 64; the payload; BLAKE3 of header and payload; ``FLVE``.
A payload never holds a sector of zeros (commits are compressed), so a missing sector is told from a flipped bit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from population.errors import LineageCorrupt, NewerHome

VERSION = 1
OPEN, COMMIT, INCIDENT = 1, 2, 3
GENESIS = bytes(32)
MAGIC = b"EVLF"
_FIELDS = struct.Struct("<4sHHQQQ32s")
_CHECK_SIZE = 8
HEADER_SIZE = _FIELDS.size + _CHECK_SIZE
HASH_SIZE = 32
END_MARK = b"FLVE"
_TRAILER_SIZE = HASH_SIZE + len(END_MARK)
MAX_PAYLOAD = 1 << 31
_SECTOR = 512


@dataclass(frozen=True)
class Frame:
    """One whole frame. ``position`` is where it begins in its file, ``end`` where the next one begins."""

    kind: int
    sequence: int
    synced_upto: int
    previous: bytes
    payload: bytes
    position: int
    end: int
    hash: bytes


@dataclass(frozen=True)
class Tail:
    """What a journal holds: its whole frames, where they end, and how many torn bytes follow."""

    frames: tuple[Frame, ...]
    end: int
    torn_bytes: int


def encode_frame(kind: int, sequence: int, synced_upto: int, previous: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """Returns the frame's bytes and its hash."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a commit of {len(payload)} bytes exceeds {MAX_PAYLOAD}: commit fewer births at a time")
    fields = _FIELDS.pack(MAGIC, VERSION, kind, sequence, len(payload), synced_upto, previous)
    header = fields + blake3(fields).digest(_CHECK_SIZE)
    hasher = blake3(header)
    hasher.update(payload)
    digest = hasher.digest()
    return b"".join((header, payload, digest, END_MARK)), digest


def scan(data: bytes, where: str, previous: bytes, sequence: int) -> Tail:
    """Reads a journal from its beginning.

    Args:
        data: the file's bytes. where: its name, for messages.
        previous, sequence: the chain value and the sequence number that the first frame must carry.

    Raises:
        LineageCorrupt: a frame is damaged or does not follow the one before, and it is not a tear.
        NewerHome: a frame was written by a newer version.
    """
    frames: list[Frame] = []
    position = 0
    while position < len(data):
        frame = _read_frame(data, position, where)
        if frame is None:
            _check_tear(data, position, where)
            break
        if frame.previous != previous or frame.sequence != sequence:
            raise _corrupt(
                where, position, f"frame {frame.sequence} does not follow frame {sequence - 1} (broken chain)"
            )
        frames.append(frame)
        position, previous, sequence = frame.end, frame.hash, sequence + 1
    return Tail(tuple(frames), position, len(data) - position)


def intact_frames(data: bytes, where: str) -> Iterator[Frame]:
    """Returns every whole and valid frame in some bytes, wherever it lies: what a repair can go by."""
    position = data.find(MAGIC)
    while position >= 0:
        frame = _read_frame(data, position, where)
        if frame is not None:
            yield frame
        position = data.find(MAGIC, position + 1 if frame is None else frame.end)


def _read_frame(data: bytes, position: int, where: str) -> Frame | None:
    """Returns the frame that begins here, or None where there is no whole and valid one."""
    header = _read_header(data, position)
    if header is None:
        return None
    version, kind, sequence, length, synced_upto, previous = header
    if version > VERSION:
        raise NewerHome(
            f"{where}: written by lineage format {version}, this version reads {VERSION}: upgrade the program"
        )
    end = position + HEADER_SIZE + length + _TRAILER_SIZE
    if length > MAX_PAYLOAD or end > len(data):
        return None
    body = memoryview(data)[position : end - _TRAILER_SIZE]
    digest = blake3(body).digest()
    if data[end - _TRAILER_SIZE : end] != digest + END_MARK:
        return None
    payload = bytes(body[HEADER_SIZE:])
    return Frame(kind, sequence, synced_upto, previous, payload, position, end, digest)


def _read_header(data: bytes, position: int) -> tuple[int, int, int, int, int, bytes] | None:
    """Returns (version, kind, sequence, length, synced_upto, previous), or None where the header is not intact."""
    if position + HEADER_SIZE > len(data):
        return None
    fields = data[position : position + _FIELDS.size]
    check = data[position + _FIELDS.size : position + HEADER_SIZE]
    if fields[:4] != MAGIC or blake3(fields).digest(_CHECK_SIZE) != check:
        return None
    _, version, kind, sequence, length, synced_upto, previous = _FIELDS.unpack(fields)
    return version, kind, sequence, length, synced_upto, previous


def _check_tear(data: bytes, position: int, where: str) -> None:
    """Returns where the bytes from ``position`` on can be an unfinished append; raises LineageCorrupt where not.

    An unfinished append is the last thing in a file, was never synced, and lacks something: its end, or whole sectors,
    which then read as zeros. A frame after it that counts it as synced, or bytes that lack nothing, are damage.
    """
    later = data.find(MAGIC, position + 1)
    while later >= 0:
        frame = _read_frame(data, later, where)
        if frame is not None and frame.synced_upto > position:
            raise _corrupt(
                where, position, f"frame {frame.sequence} at byte {later} shows that these bytes were synced"
            )
        later = data.find(MAGIC, later + 1)
    if _misses_a_sector(data, position):
        return
    header = _read_header(data, position)
    if header is None and len(data) - position >= HEADER_SIZE:
        raise _corrupt(where, position, "a frame's header is complete but wrong")
    if header is None and not MAGIC.startswith(data[position : position + len(MAGIC)]):
        raise _corrupt(where, position, "bytes that begin no frame")
    if header is not None and position + HEADER_SIZE + header[3] + _TRAILER_SIZE <= len(data):
        raise _corrupt(where, position, f"frame {header[2]} is complete but does not match its hash")


def _misses_a_sector(data: bytes, position: int) -> bool:
    """Returns whether some whole sector (or the cut last one) of the bytes from ``position`` on was never written."""
    start = position
    while start < len(data):
        end = min(len(data), (start // _SECTOR + 1) * _SECTOR)
        if not any(data[start:end]):
            return True
        start = end
    return False


def _corrupt(where: str, position: int, what: str) -> LineageCorrupt:
    return LineageCorrupt(
        f"{where}: damaged at byte {position}: {what}. Nothing before byte {position} is affected. "
        f"Restore this file from a copy; do not cut it by hand, commits would be lost"
    )
