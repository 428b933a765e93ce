"""Checks a store whole: every object by its hash, every manifest and what it links to, every pack, every head's history.

Nothing is written and no lock is taken, so that campaigns may run meanwhile; what they put or remove while this reads is no
damage. What cannot be read (no permission, a failing disk) is no damage: it may be whole.

Nouns: *damage* and *check* (as in ``damage.py``).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from population.encoding.cbor import decode
from population.encoding.cid import cid_of, parse_cid
from population.errors import DamageError, FormatError, InfrastructureError, InputError, NotFound, StorageError
from population.files.local_files import FileSystem
from population.store.damage import Damage, StoreReport
from population.store.heads import Heads
from population.store.objects import MAX_MANIFEST_BYTES, MAX_OBJECT_BYTES, ReadLeaf, check_format, links_of, object_path
from population.store.row_packs import Packs

_NO_FILE: Final = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENOTDIR, errno.EINVAL})
_OBJECT: Final = re.compile(r"b[a-z2-7]{58}")
_ENTRY: Final = re.compile(r"\d{10}-(b[a-z2-7]{58})")
Build = Callable[[Any, ReadLeaf], object]
Progress = Callable[[int, int], None]


def check_store(
    files: FileSystem,
    home: Path,
    keys_root: Path,
    *,
    needed: Mapping[str, str] | None = None,
    build: Build | None = None,
    progress: Progress = lambda done, total: None,
) -> StoreReport:
    """Reads a home's whole store and says what of it is not what was written.

    Args:
        needed: objects, or rows of packs, by CID, that campaigns or forks need, and the name of each.
        build: makes a block of a manifest, as ``BlockStore.load`` takes it; None: a manifest is only decoded.
        progress: called with how many of how many files were read.

    Raises: NewerHome when a newer version wrote the store.
    """
    checking = _Checking(files, home, keys_root)
    checking.look(progress)
    checking.follow(dict(needed or {}), build)
    return checking.answer()


@dataclass
class _Checking:
    """One check under way. sound: the objects whose bytes are theirs; links: of each manifest."""

    files: FileSystem
    home: Path
    keys_root: Path
    damaged: dict[tuple[str, Path], Damage] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: dict[str, Path] = field(default_factory=dict)
    sound: set[str] = field(default_factory=set)
    links: dict[str, dict[str, int | None]] = field(default_factory=dict)
    rows: set[bytes] = field(default_factory=set)
    entries: dict[str, list[str]] = field(default_factory=dict)
    num_packs: int = 0

    @property
    def all_entries(self) -> set[str]:
        return {block for blocks in self.entries.values() for block in blocks}

    @property
    def store(self) -> Path:
        return self.home / "store"

    def look(self, progress: Progress) -> None:
        """Reads every object, pack and head by itself."""
        try:
            is_marked = check_format(self.files, self.store)
            if not is_marked and self.files.exists(self.store / "objects"):
                self._damage("FORMAT", "format", self.store / "FORMAT", "it is missing, and there are objects")
        except DamageError as error:
            self._damage("FORMAT", "format", self.store / "FORMAT", str(error))
        except StorageError as error:
            self.unreadable[self.store / "FORMAT"] = str(error)
        self._list_objects()
        for number, (cid, path) in enumerate(self.names.items()):
            progress(number, len(self.names))
            self._read_object(cid, path)
        progress(len(self.names), len(self.names))
        self._read_packs()
        self._read_heads()

    def follow(self, needed: dict[str, str], build: Build | None) -> None:
        """Checks that everything that is linked to, pointed to or needed is there, and that manifests make blocks."""
        for manifest, leaves in self.links.items():
            for leaf in leaves:
                self._require(leaf, f"block {manifest}")
            if build is not None and self.sound.issuperset(leaves):
                self._build(manifest, build)
        for head, blocks in self.entries.items():
            for block in blocks:
                self._require(block, f"head {head}")
        for cid, who in needed.items():
            if parse_cid(cid)[1] not in self.rows:
                self._require(cid, who)
        self._mark_truncated()
        self._forget_purged()

    def answer(self) -> StoreReport:
        """Returns the check, each damage with the heads that it concerns."""
        damaged = [self._with_heads(damage) for damage in self.damaged.values()]
        order = sorted(damaged, key=lambda each: (not each.standing, not each.heads, each.object, each.kind))
        counts = (len(self.names), self.num_packs, len(self.entries))
        return StoreReport(*counts, tuple(order), tuple(sorted(self.unreadable.items())), tuple(self.notes))

    # ---- objects -------------------------------------------------------------------------------------------------

    def _list_objects(self) -> None:
        root = self.store / "objects"
        for shard in self._listed(root):
            names = self._listed(root / shard)
            if not names and not self._is_folder(root / shard):
                self._damage(shard, "foreign", root / shard, "it is no folder of objects: move it away")
            for name in names:
                path = root / shard / name
                if not _OBJECT.fullmatch(name) or not _is_cid(name):
                    self._damage(name, "foreign", path, "no object is called so: move it away")
                elif object_path(self.store, name) != path:
                    right = object_path(self.store, name)
                    self._damage(name, "misplaced", path, f"it belongs at {right}: move it there")
                else:
                    self.names[name] = path

    def _read_object(self, cid: str, path: Path) -> None:
        data = self._read(cid, path)
        if data is None:
            return
        codec = parse_cid(cid)[0]
        if cid_of(data, codec) != cid:
            self._damage(cid, *self._how_changed(data, path))
            return
        self.sound.add(cid)
        if codec == "dag-cbor":
            try:
                self.links[cid] = _sizes(decode(data, max_bytes=MAX_MANIFEST_BYTES))
            except FormatError as error:
                self._damage(cid, "manifest", path, f"it is not a manifest: {error}")

    def _how_changed(self, data: bytes, path: Path) -> tuple[str, Path, str]:
        if not data:
            return "empty", path, f"the file has no bytes: {_RESTORE}"
        others = [cid_of(data, "raw"), cid_of(data, "dag-cbor")]
        for other in others:
            if other in self.names:
                return "swapped", path, f"it holds the bytes of {other}: {_RESTORE}"
        return "changed", path, f"its {len(data)} bytes do not hash to its name: {_RESTORE}"

    def _build(self, manifest: str, build: Build) -> None:
        def read_leaf(cid: str) -> bytes:
            return self.files.read_bytes(object_path(self.store, cid))

        try:
            build(decode(self.files.read_bytes(self.names[manifest])), read_leaf)
        except NotFound:
            return  # removed meanwhile
        except (FormatError, InputError) as error:
            self._damage(manifest, "manifest", self.names[manifest], f"no block can be made of it: {error}")
        except StorageError as error:
            self.unreadable[self.names[manifest]] = str(error)

    def _mark_truncated(self) -> None:
        """Changes the kind of damaged objects that are shorter than their manifests say."""
        sizes = {cid: size for leaves in self.links.values() for cid, size in leaves.items() if size is not None}
        for key, damage in self.damaged.items():
            size = sizes.get(damage.object)
            if damage.kind == "changed" and size is not None and (there := self._size(damage.path)) < size:
                what = f"the file has {there} of {size} bytes: {_RESTORE}"
                self.damaged[key] = replace(damage, kind="truncated", what=what)

    def _forget_purged(self) -> None:
        """Drops what only a block lacks that is gone itself: a purge removed both while we read."""
        for key, damage in list(self.damaged.items()):
            blocks = [who.removeprefix("block ") for who in damage.needed_by if who.startswith("block ")]
            is_needed = len(blocks) < len(damage.needed_by) or damage.object in self.all_entries
            is_there = any(self.files.exists(object_path(self.store, block)) for block in blocks)
            if damage.kind == "missing" and blocks and not is_needed and not is_there:
                del self.damaged[key]

    # ---- packs and heads -----------------------------------------------------------------------------------------

    def _read_packs(self) -> None:
        packs, folder = Packs(self.files, self.store), self.store / "packs"
        listed = self._listed(folder)
        stems = {name.removesuffix(end) for name in listed for end in (".index", ".rows") if name.endswith(end)}
        for name in listed:
            stem = name.rpartition(".")[0]
            if stem not in stems or not _is_cid(stem) or not name.endswith((".index", ".rows")):
                self._damage(name, "foreign", folder / name, "no pack is called so: move it away")
        for stem in sorted(filter(_is_cid, stems)):
            if f"{stem}.index" not in listed:
                self.notes.append(f"{folder / stem}.rows: rows without an index, left by a writer that was killed")
                continue
            self.num_packs += 1
            self._read_pack(packs, stem)

    def _read_pack(self, packs: Packs, name: str) -> None:
        index, rows = packs.paths(name)
        try:
            self.rows |= packs.check(name)
        except DamageError as error:
            self._damage(name, "pack", rows, str(error))
        except NotFound as error:
            if self.files.exists(index):  # else it was purged meanwhile
                self._damage(name, "pack", rows, f"{error}: {_RESTORE}")
        except StorageError as error:
            self._refused(name, rows, error)

    def _read_heads(self) -> None:
        try:
            heads = Heads(self.files, self.home, self.keys_root)
        except (DamageError, StorageError):
            return  # FORMAT cannot be read, which `look` has noted
        for stage in sorted({*self._listed(self.store / "reflog"), *self._listed(self.store / "refs")}):
            try:
                names = heads.names(stage)
            except InputError as error:
                self._damage(stage, "foreign", self.store / "reflog" / stage, str(error))
                continue
            except StorageError as error:
                self._refused(stage, self.store / "reflog" / stage, error)
                continue
            for name in names:
                self._read_head(heads, stage, name)

    def _read_head(self, heads: Heads, stage: str, name: str) -> None:
        folder, label = self.store / "reflog" / stage / name, f"{stage}/{name}"
        found = [match[1] for entry in self._listed(folder) if (match := _ENTRY.fullmatch(entry))]
        self.entries[label] = [block for block in found if _is_cid(block)]
        try:
            heads.history(name, stage)
        except (DamageError, FormatError) as error:
            self._damage(label, "head", folder, str(error))
        except InfrastructureError as error:
            self.unreadable[folder] = str(error)

    # ---- within --------------------------------------------------------------------------------------------------

    def _require(self, cid: str, who: str) -> None:
        path = object_path(self.store, cid)
        if not self.unreadable.keys().isdisjoint((path.parent, path.parent.parent)):
            return  # it may be there
        try:
            is_there = cid in self.names or self.files.exists(path)
        except StorageError as error:
            self.unreadable[path] = str(error)
            return
        if is_there and cid not in self.names:  # put while we read, or under a folder that could not be listed
            self.names[cid] = path
            self._read_object(cid, path)
        if not is_there:
            self._damage(cid, "missing", path, f"it is not there: {_RESTORE}")
        if cid in self.sound:
            return
        for key, damage in self.damaged.items():
            if damage.object == cid and not who.startswith("head ") and who not in damage.needed_by:
                self.damaged[key] = replace(damage, needed_by=(*damage.needed_by, who))

    def _with_heads(self, damage: Damage) -> Damage:
        def leads(blocks: list[str]) -> bool:
            return any(damage.object == block or damage.object in self.links.get(block, ()) for block in blocks)

        heads = {label for label, blocks in self.entries.items() if leads(blocks) or damage.object == label}
        standing = {label for label in heads if leads(self.entries[label][-1:]) or damage.object == label}
        return replace(damage, heads=tuple(sorted(heads)), standing=tuple(sorted(standing)))

    def _read(self, cid: str, path: Path) -> bytes | None:
        try:
            size = self.files.size(path)
            if size > MAX_OBJECT_BYTES:
                self._damage(cid, "changed", path, f"it has {size} bytes, more than any object: {_RESTORE}")
                return None
            return self.files.read_bytes(path)
        except NotFound:
            self.names = {name: where for name, where in self.names.items() if name != cid}  # removed meanwhile
        except StorageError as error:
            self._refused(cid, path, error)
        return None

    def _refused(self, cid: str, path: Path, error: StorageError) -> None:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NO_FILE:
            self._damage(cid, "no file", path, str(error))
        else:
            self.unreadable[path] = str(error)

    def _damage(self, name: str, kind: str, path: Path, what: str) -> None:
        self.damaged.setdefault(
            (name, path), Damage(_printable(name), kind, Path(_printable(str(path))), _printable(what))
        )

    def _listed(self, folder: Path) -> list[str]:
        try:
            return self.files.list(folder)
        except StorageError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.ENOTDIR:
                self.unreadable[folder] = str(error)
            return []

    def _is_folder(self, path: Path) -> bool:
        try:
            self.files.list(path)
        except StorageError as error:
            cause = error.__cause__
            return not isinstance(cause, OSError) or cause.errno != errno.ENOTDIR
        return True

    def _size(self, path: Path) -> int:
        try:
            return self.files.size(path)
        except (NotFound, StorageError):
            return 0


_RESTORE: Final = (
    "restore it from a copy of the store, or run the campaign that made it again (evolve run CONFIG --again)"
)


def _printable(text: str) -> str:
    """Returns a text without what a terminal obeys or cannot show: names of foreign files may hold anything."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def _is_cid(text: str) -> bool:
    try:
        parse_cid(text)
    except FormatError:
        return False
    return True


def _sizes(manifest: Any) -> dict[str, int | None]:
    """Returns the links of a manifest, with the size that it gives for each, where it does."""
    sizes: dict[str, int | None] = dict.fromkeys(links_of(manifest))
    for leaf in _described(manifest):
        sizes[leaf["link"].cid] = leaf["bytes"]
    return sizes


def _described(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if {"bytes", "link"} <= value.keys() and isinstance(value["bytes"], int) and hasattr(value["link"], "cid"):
            yield value
        for item in value.values():
            yield from _described(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _described(item)
