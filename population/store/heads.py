"""Production heads: what a name points to now, and every signed decision that led there.

Each decision is one entry of a log: a DSSE envelope, signed with ed25519, that names the entry before it by hash. The
log is the truth. A small file beside it, the ref, repeats the last entry and is written after it, so that a log that
lost its newest entries is noticed. Layout, crash cases and threat model stand in STORE.md.

Nouns: head (a name's standing decision), entry (one signed decision), ref (the witness of the last entry).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, get_args

from blake3 import blake3

from population.encoding.cbor import Link, decode, encode
from population.encoding.cid import parse_cid
from population.errors import FormatError, InputError, NewerHome, NotFound, StoreCorrupt
from population.files.local_files import FileSystem, read_small
from population.store.keys import Keys
from population.store.objects import check_format, object_path

Kind = Literal["promote", "rollback"]

HEADS_VERSION: Final = 1
PAYLOAD_TYPE: Final = "application/vnd.tensor-block-evolution.head+dag-cbor"
MAX_ENTRY_BYTES: Final = 1 << 18
_SEGMENT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ENTRY_NAME: Final = re.compile(r"(\d{10})-(b[a-z2-7]{58})")  # longer than any segment, so no name can look like it
_REF_NAME: Final = "HEAD"  # upper case, so that no segment can look like it
_MAX_SEGMENTS: Final = 4
_FIELDS: Final = frozenset(("version", "stage", "name", "block", "sequence", "decided", "kind", "evidence", "previous"))


class HeadMoved(InputError):
    """The head is not where the caller thought it was: somebody else decided meanwhile."""


@dataclass(frozen=True)
class Head:
    """One decision about a name; the last one is the head that stands.

    `sequence` counts from 1 for each name, without gaps. `evidence` is what the decision rested on, as the caller gave
    it (plain values). `decided` is the caller's ISO 8601 time; nothing is decided by it.
    """

    stage: str
    name: str
    block: str
    sequence: int
    signed_by: str
    decided: str
    kind: Kind
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class _Entry:
    head: Head
    previous: bytes | None
    data: bytes
    path: Path

    @property
    def digest(self) -> bytes:
        return blake3(self.data).digest()


def check_name(name: str) -> str:
    """Returns the name of a head, checked.

    Raises: InputError unless it is 1 to 4 segments of `[a-z0-9][a-z0-9._-]{0,63}` joined by `/`, none holding `..`.
    """
    segments = name.split("/")
    if len(segments) > _MAX_SEGMENTS or not all(_SEGMENT.fullmatch(part) and ".." not in part for part in segments):
        raise InputError(
            f"{name[:300]!r} is not a name for a head: write 1 to {_MAX_SEGMENTS} parts joined by '/', each of up to 64 of "
            "a-z 0-9 . _ - beginning with a letter or digit, without '..'; for example digits or team/digits"
        )
    return name


class Heads:
    """The heads of a home.

    Readers take no lock and see the old head or the new one, never none. Writers take the lock `store/locks/heads` and
    compare before they write. After a StorageError or Ctrl-C a decision may or may not stand; calling again with the
    same arguments finishes it, and never makes it twice.
    """

    def __init__(self, files: FileSystem, home: Path, keys_root: Path) -> None:
        """Opens the heads in `home`/store, signed by the keys in `keys_root`; neither need exist.

        Raises: NewerHome when a newer version wrote the store.
        """
        self._files = files
        self._store = home / "store"
        self._keys = Keys(files, keys_root)
        check_format(files, self._store)

    def current(self, name: str, stage: str = "production") -> Head | None:
        """The head that stands, or None when nothing was ever promoted to this name. Raises: as `history`."""
        history = self.history(name, stage)
        return history[-1] if history else None

    def history(self, name: str, stage: str = "production") -> list[Head]:
        """All decisions about a name, oldest first; every signature and the chain of hashes is verified.

        Raises: InputError for an impossible name; StoreCorrupt, naming the file, when an entry is damaged, unsigned,
            out of place or missing.
        """
        return [entry.head for entry in self._entries(name, stage)]

    def names(self, stage: str = "production") -> list[str]:
        """The sorted names that have a head in a stage."""
        return sorted({*self._walk(self._log_root(stage), ()), *self._walk(self._store / "refs" / stage, ())})

    def stages(self) -> list[str]:
        """The sorted stages that have heads."""
        return [stage for stage in self._files.list(self._store / "reflog") if _SEGMENT.fullmatch(stage)]

    def advance(
        self,
        name: str,
        cid: str,
        evidence: Mapping[str, Any],
        expected_sequence: int,
        *,
        decided: str,
        stage: str = "production",
        kind: Kind = "promote",
    ) -> Head:
        """Points a name at a block, if `expected_sequence` is the sequence that stands (0: there is no head yet).

        Repeating a call whose entry stands already returns that entry.

        Raises: HeadMoved when another sequence stands; NotFound when the block is not in the store; InputError for an
            impossible name or evidence; Locked while another process decides; StoreCorrupt; StorageError.
        """
        if parse_cid(cid)[0] != "dag-cbor":
            raise InputError(f"a head points at a block, and {cid} is a leaf; `evolve blocks list` shows the blocks")
        if not self._files.exists(object_path(self._store, cid)):
            raise NotFound(f"block {cid} is not in {self._store}; put it there before a head points at it")
        check_name(name)
        with self._files.lock(self._store / "locks" / "heads"):
            entries = self._entries(name, stage)
            standing = entries[-1] if entries else None
            if standing is not None and _is_repeated(standing.head, cid, kind, expected_sequence):
                self._write(standing)
                return standing.head
            sequence = 0 if standing is None else standing.head.sequence
            if sequence != expected_sequence:
                raise HeadMoved(
                    f"{stage} head {name!r} stands at sequence {sequence}, not {expected_sequence}: it was moved "
                    "meanwhile; look at it (`evolve heads`) and decide again"
                )
            draft = Head(stage, name, cid, sequence + 1, "", decided, kind, evidence)
            entry = self._sign(draft, standing.digest if standing else None)
            self._write(entry)
            return entry.head

    def rollback(
        self,
        name: str,
        *,
        decided: str,
        stage: str = "production",
        evidence: Mapping[str, Any] | None = None,
        expected_sequence: int | None = None,
    ) -> Head:
        """Points a name back at the block that stood before the present one, by a new entry; nothing is erased.

        Rollbacks undo promotions, newest first: after A, B, C one gives B, the next gives A, one more is refused. Whoever
        may have to repeat a call gives `expected_sequence`; without it, only a rollback that was interrupted before its
        ref is recognised and finished rather than followed by another.

        Raises: NotFound when there is no such head; InputError when nothing stood before it; otherwise as `advance`.
        """
        witness = self._witness(name, stage)
        history = self.history(name, stage)
        if not history:
            known = ", ".join(self.names(stage)) or "none"
            raise NotFound(f"there is no {stage} head {name!r}; the heads there are: {known}")
        expected = history[-1].sequence if expected_sequence is None else expected_sequence
        if expected_sequence is None and history[-1].kind == "rollback" and (witness is None or witness[0] < expected):
            expected -= 1  # the last rollback was interrupted before its ref: finish that one, do not undo once more
        block = block_before([head for head in history if head.sequence <= expected])
        if block is None:
            raise InputError(
                f"{stage} head {name!r} cannot be rolled back: no other block stood before {history[-1].block}"
            )
        return self.advance(name, block, evidence or {}, expected, decided=decided, stage=stage, kind="rollback")

    # ---- reading -------------------------------------------------------------------------------------------------

    def _log_root(self, stage: str) -> Path:
        if not _SEGMENT.fullmatch(stage) or ".." in stage:
            raise InputError(f"{stage[:80]!r} is not a stage: write one word of a-z 0-9 . _ -, such as production")
        return self._store / "reflog" / stage

    def _ref_path(self, name: str, stage: str) -> Path:
        return self._store / "refs" / stage / name / _REF_NAME

    def _walk(self, folder: Path, parts: tuple[str, ...]) -> Iterator[str]:
        """The names that have entries, or a ref (so that a log that vanished whole is noticed, not forgotten)."""
        children = self._files.list(folder)
        if parts and any(child == _REF_NAME or _ENTRY_NAME.fullmatch(child) for child in children):
            yield "/".join(parts)
        for child in children:
            if len(parts) < _MAX_SEGMENTS and _SEGMENT.fullmatch(child):
                yield from self._walk(folder / child, (*parts, child))

    def _entries(self, name: str, stage: str) -> list[_Entry]:
        folder = self._log_root(stage) / check_name(name)
        # The ref is read first: a writer writes it last, so it never speaks of an entry that the log does not have yet.
        witness = self._witness(name, stage)
        entries: list[_Entry] = []
        for file_name in self._files.list(folder):
            if match := _ENTRY_NAME.fullmatch(file_name):
                entry = self._read(folder / file_name)
                head, number = entry.head, len(entries) + 1
                if (head.stage, head.name, head.sequence, head.block) != (stage, name, int(match[1]), match[2]):
                    _refuse(entry.path, f"says that it is entry {head.sequence} of {head.stage} {head.name!r}")
                if head.sequence != number or entry.previous != (entries[-1].digest if entries else None):
                    _refuse(
                        entry.path, f"stands where entry {number} was expected, or does not follow from the one before"
                    )
                entries.append(entry)
        if witness is not None and witness not in [(entry.head.sequence, entry.digest) for entry in entries]:
            _refuse(folder, f"does not hold entry {witness[0]} as {self._ref_path(name, stage)} saw it")
        return entries

    def _read(self, path: Path) -> _Entry:
        if self._files.size(path) > MAX_ENTRY_BYTES:
            _refuse(path, f"has more than the {MAX_ENTRY_BYTES} bytes of the longest entry")
        data = self._files.read_bytes(path)
        try:
            return _parse_entry(*self._keys.unseal(PAYLOAD_TYPE, data), data, path)
        except FormatError as error:
            raise StoreCorrupt(f"{path} is not a sound entry: {error}; {_RESTORE}") from error

    def _witness(self, name: str, stage: str) -> tuple[int, bytes] | None:
        path = self._ref_path(check_name(name), stage)
        if not self._files.exists(path):
            return None
        try:
            value = json.loads(read_small(self._files, path, 4096, "remove it: the signed log holds the head"))
            return int(value["sequence"]), bytes.fromhex(value["entry"])
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            raise StoreCorrupt(f"{path} is damaged ({error}); remove it: the signed log holds the head") from error

    # ---- writing -------------------------------------------------------------------------------------------------

    def _sign(self, draft: Head, previous: bytes | None) -> _Entry:
        payload = encode(
            {
                "version": HEADS_VERSION,
                "stage": draft.stage,
                "name": draft.name,
                "block": Link(draft.block),
                "sequence": draft.sequence,
                "decided": draft.decided,
                "kind": draft.kind,
                "evidence": draft.evidence,
                "previous": previous,
            }
        )
        data, key_id = self._keys.seal(PAYLOAD_TYPE, payload)
        if len(data) > MAX_ENTRY_BYTES:
            raise InputError(f"the entry has {len(data)} bytes, at most {MAX_ENTRY_BYTES}: give less evidence")
        folder = self._log_root(draft.stage) / draft.name
        return _parse_entry(payload, key_id, data, folder / f"{draft.sequence:010d}-{draft.block}")

    def _write(self, entry: _Entry) -> None:
        """Makes an entry durable, also one that stands already, and then the ref."""
        self._files.write_atomic(entry.path, entry.data)
        head = entry.head
        value = {"block": head.block, "entry": entry.digest.hex(), "sequence": head.sequence, "version": HEADS_VERSION}
        text = json.dumps(value, sort_keys=True) + "\n"
        self._files.write_atomic(self._ref_path(head.name, head.stage), text.encode(), 0o644, replace=True)


_RESTORE: Final = "restore the folder store/reflog from a copy of the home"


def block_before(history: Sequence[Head]) -> str | None:
    """The block that a rollback goes back to: promotions are pushed on a stack, a rollback takes the top one off."""
    stack: list[str] = []
    for head in history:
        if head.kind == "rollback" and head.block in stack:
            while stack[-1] != head.block:
                stack.pop()
        elif not stack or stack[-1] != head.block:
            stack.append(head.block)
    return stack[-2] if len(stack) > 1 else None


def _refuse(path: Path, fact: str) -> NoReturn:
    raise StoreCorrupt(f"{path} {fact}; {_RESTORE}")


def _is_repeated(standing: Head, cid: str, kind: Kind, expected_sequence: int) -> bool:
    return (standing.block, standing.kind, standing.sequence) == (cid, kind, expected_sequence + 1)


def _parse_entry(payload: bytes, key_id: str, data: bytes, path: Path) -> _Entry:
    """Reads a payload whose signature was verified.

    Raises: FormatError when it is not an entry of this version; NewerHome when a newer one wrote it.
    """
    value = decode(payload, max_bytes=MAX_ENTRY_BYTES)
    version = value.get("version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > HEADS_VERSION:
        raise NewerHome(f"{path} has version {version}, this program reads up to {HEADS_VERSION}; upgrade it")
    if version != HEADS_VERSION or value.keys() != _FIELDS:
        raise FormatError("its fields are not those of an entry")
    texts = [value[key] for key in ("stage", "name", "decided", "kind")]
    if not all(isinstance(text, str) for text in texts) or value["kind"] not in get_args(Kind):
        raise FormatError("stage, name, decided or kind is not a text that is allowed there")
    if not isinstance(value["block"], Link) or not isinstance(value["evidence"], dict):
        raise FormatError("block is not a link or evidence not a mapping")
    if type(value["sequence"]) is not int or not isinstance(value["previous"], bytes | None):
        raise FormatError("sequence is not a number or previous not a hash")
    fields = {key: value[key] for key in ("stage", "name", "sequence", "decided", "kind", "evidence")}
    head = Head(block=value["block"].cid, signed_by=key_id, **fields)
    return _Entry(head=head, previous=value["previous"], data=data, path=path)
