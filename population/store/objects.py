"""The block store: write-once objects named by the hash of their bytes, verified whenever they are read.

An object is a manifest (canonical DAG-CBOR) or a leaf (raw tensor bytes, rows kept at keyframes). Layout, order of
writes and threat model stand in STORE.md beside this file.

Nouns: object (bytes under their CID), manifest (what a block is, with links to its leaves), leaf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from population.encoding.cbor import Link, decode, encode
from population.encoding.cid import Codec, cid_of, cid_of_digest, parse_cid
from population.errors import FormatError, InputError, NewerHome, NotFound, StoreCorrupt
from population.files.local_files import FileSystem, read_small
from population.store.row_packs import Packs

Built = TypeVar("Built")
ReadLeaf = Callable[[str], bytes]

FORMAT_VERSION: Final = 1
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_OBJECT_BYTES: Final = 1 << 31
MIN_PREFIX_CHARACTERS: Final = 8
_SHARD = slice(8, 10)  # the first two characters of a CID that depend on nothing but the digest
_OBJECT_NAME: Final = re.compile(r"b[a-z2-7]{58}")
_NUM_CANDIDATES: Final = 3


def object_path(root: Path, cid: str) -> Path:
    """Where an object lies in the store at `root`.

    Raises: FormatError when `cid` is not a content id, so that no path is ever made from anything else.
    """
    parse_cid(cid)
    return root / "objects" / cid[_SHARD] / cid


def check_format(files: FileSystem, root: Path) -> bool:
    """Whether the store at `root` says which version it is.

    Raises: NewerHome when it was written by a newer version; StoreCorrupt when FORMAT cannot be read.
    """
    path = root / "FORMAT"
    if not files.exists(path):
        return False
    try:
        version = json.loads(read_small(files, path, 4096))["version"]
        is_newer = int(version) > FORMAT_VERSION
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise StoreCorrupt(
            f"{path} is damaged; write {_format_bytes()!r} into it if this store is of version 1"
        ) from error
    if is_newer:
        raise NewerHome(f"the store {root} has format {version}, this program reads up to {FORMAT_VERSION}; upgrade it")
    return True


def _format_bytes() -> bytes:
    return json.dumps({"format": "tensor-block-store", "hash": "blake3", "version": FORMAT_VERSION}).encode() + b"\n"


class Storable(Protocol):
    """What can be stored as a block: a TensorBlock.

    Obligations: the manifest is a value that CBOR can say and follows from what the block computes, nothing else; every
    leaf stands under the CID of its bytes.
    """

    def manifest(self) -> tuple[Any, Mapping[str, bytes]]:
        """The manifest as a plain value, and the leaves it links to."""
        ...


class BlockStore:
    """The objects under one folder.

    Several processes may read and write at once: objects are never changed, and two that put the same object write the
    same bytes. `put` and its kin return after the objects are durable; after an error they may be repeated.
    """

    def __init__(self, files: FileSystem, root: Path) -> None:
        """Opens the store at `root`, which need not exist: it is made by the first put.

        Raises: NewerHome when a newer version wrote it.
        """
        self._files = files
        self._root = root
        self._is_marked = check_format(files, root)

    @property
    def root(self) -> Path:
        """The folder of the store."""
        return self._root

    def packs(self) -> Packs:
        """The rows that lie beside the objects, many in a file."""
        return Packs(self._files, self._root)

    # ---- blocks --------------------------------------------------------------------------------------------------

    def put(self, block: Storable) -> str:
        """Stores a block: its leaves first, then its manifest; a block that is there is verified and left as it is.

        Returns: the block's id, which is the CID of its manifest.
        Raises: StoreCorrupt when an object of that name holds other bytes; StorageError; FormatError when the manifest
            exceeds 1 MiB or links to what is neither a leaf of it nor in the store.
        """
        value, leaves = block.manifest()
        manifest = encode(value)
        if len(manifest) > MAX_MANIFEST_BYTES:
            raise FormatError(f"the manifest has {len(manifest)} bytes, at most {MAX_MANIFEST_BYTES} can be stored")
        for cid in links_of(value):
            if cid not in leaves and not self.has(cid):
                raise FormatError(f"the manifest links to {cid}, which is neither among its leaves nor in the store")
        self._write(dict(leaves))
        cid = cid_of(manifest, "dag-cbor")
        self._write({cid: manifest})
        return cid

    def load(self, cid: str, build: Callable[[Any, ReadLeaf], Built]) -> Built:
        """What `build` makes of a block's manifest and of a function that reads its leaves by CID.

        The hash of the manifest and of every leaf that is read is verified.

        Raises: NotFound; StoreCorrupt when an object is missing or does not hash to its name; FormatError when the
            object is no manifest; and what `build` raises.
        """
        return build(self.get_manifest(cid), self._leaf_reader(cid))

    def get_manifest(self, cid: str) -> Any:
        """The verified, decoded manifest of a block, without its leaves.

        Raises: as `load`.
        """
        if parse_cid(cid)[0] != "dag-cbor":
            raise FormatError(f"{cid} names a leaf, not a block; `evolve blocks list` shows the blocks")
        data = self.get_object(cid)
        try:
            return decode(data, max_bytes=MAX_MANIFEST_BYTES)
        except FormatError as error:
            raise FormatError(f"object {cid} is not a manifest: {error}") from error

    def list_blocks(self) -> list[str]:
        """The sorted ids of all blocks (every object that is DAG-CBOR)."""
        return [cid for cid in self.list_objects() if parse_cid(cid)[0] == "dag-cbor"]

    def resolve(self, prefix: str) -> str:
        """The full CID of the one object that `prefix`, of at least 8 characters, begins.

        Raises: InputError when it is too short or ambiguous; NotFound, with the nearest candidates, when nothing fits.
        """
        if len(prefix) < MIN_PREFIX_CHARACTERS:
            raise InputError(
                f"{prefix!r} is too short for a content id: give at least {MIN_PREFIX_CHARACTERS} characters"
            )
        everything = list(self._names())
        found = sorted(cid for cid in everything if cid.startswith(prefix))
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(found[:_NUM_CANDIDATES])
            raise InputError(
                f"{prefix!r} begins {len(found)} objects ({listed}{', ...' * (len(found) > 3)}); give more of it"
            )
        raise NotFound(f"no object begins with {prefix!r}; {_nearest(prefix, everything)}")

    # ---- objects -------------------------------------------------------------------------------------------------

    def put_object(self, data: bytes, codec: Codec = "raw") -> str:
        """Stores bytes under their CID, which it returns. Raises: as `put`."""
        return self.put_many([data], codec)[0]

    def put_many(self, objects: Sequence[bytes], codec: Codec = "raw") -> list[str]:
        """Stores several objects with one sync of each folder; each is whole or absent after a failure.

        Returns: their CIDs, in order. Raises: as `put`.
        """
        cids = [cid_of(data, codec) for data in objects]
        self._write(dict(zip(cids, objects, strict=True)), are_checked=True)
        return cids

    def get_object(self, cid: str) -> bytes:
        """The bytes of an object, verified.

        Raises: NotFound; StoreCorrupt naming the CID and the file; FormatError when `cid` is no content id.
        """
        path = object_path(self._root, cid)
        try:
            data = self._read_verified(cid, path)
        except NotFound as error:
            raise NotFound(f"no object {cid} in {self._root}; {_nearest(cid, list(self._names()))}") from error
        return data

    def has(self, cid: str) -> bool:
        """Whether an object of this name is there; says nothing about its bytes."""
        return self._files.exists(object_path(self._root, cid))

    def list_objects(self) -> list[str]:
        """The sorted CIDs of all objects."""
        return sorted(self._names())

    # ---- within --------------------------------------------------------------------------------------------------

    def _names(self) -> Iterator[str]:
        objects = self._root / "objects"
        for shard in self._files.list(objects):
            for name in self._files.list(objects / shard):
                if _OBJECT_NAME.fullmatch(name):
                    yield name

    def _write(self, objects: Mapping[str, bytes], *, are_checked: bool = False) -> None:
        paths = {object_path(self._root, cid): cid for cid in objects}
        for path, cid in paths.items():
            if not are_checked and cid_of(objects[cid], parse_cid(cid)[0]) != cid:
                raise FormatError(f"the bytes given for {cid} do not hash to it")
            if len(objects[cid]) > MAX_OBJECT_BYTES:
                raise FormatError(
                    f"object {cid} has {len(objects[cid])} bytes, at most {MAX_OBJECT_BYTES} can be stored"
                )
            if self._files.exists(path):
                self._read_verified(cid, path)
        if not self._is_marked:
            self._files.write_atomic(self._root / "FORMAT", _format_bytes())
            self._is_marked = check_format(self._files, self._root)
        self._files.write_many({path: objects[cid] for path, cid in paths.items()})

    def _read_verified(self, cid: str, path: Path) -> bytes:
        size = self._files.size(path)
        data = self._files.read_bytes(path) if size <= MAX_OBJECT_BYTES else None
        if data is None or cid_of(data, parse_cid(cid)[0]) != cid:
            raise StoreCorrupt(
                f"object {cid} does not hash to its name: {path} holds {size} bytes that are not what was written; "
                "move the file away and restore it from a copy of the store; without one, run the campaign that made it again"
            )
        return data

    def _leaf_reader(self, block: str) -> ReadLeaf:
        def read_leaf(cid: str) -> bytes:
            try:
                return self.get_object(cid)
            except NotFound as error:
                raise StoreCorrupt(
                    f"block {block} is damaged: its leaf {object_path(self._root, cid)} is missing; "
                    "restore it from a copy of the store, or run the campaign that made it again (evolve run CONFIG --again)"
                ) from error

        return read_leaf


def links_of(value: object) -> Iterator[str]:
    """The CIDs that a decoded manifest links to, in order, repeats included."""
    if isinstance(value, Link):
        yield value.cid
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from links_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from links_of(item)


def _nearest(text: str, cids: list[str]) -> str:
    """A remedy: the ids that share the longest beginning with `text`."""
    if not cids:
        return "the store is empty"
    near = sorted(cids, key=lambda cid: (-_num_shared(cid, text), cid))
    return f"the nearest are {', '.join(near[:_NUM_CANDIDATES])}"


def _num_shared(first: str, second: str) -> int:
    """How many characters two texts share at their beginnings."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def kept_row(store: BlockStore, packs: Packs, digest: bytes) -> bytes | None:
    """Returns the bytes of a row that a store holds, alone or in a pack, or None. Raises StoreCorrupt."""
    cid = cid_of_digest(digest, "raw")
    return store.get_object(cid) if store.has(cid) else packs.find(digest)
