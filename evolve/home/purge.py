"""Removes a campaign: its lineage, its folder, and the rows and blocks that nobody else holds; a tombstone stays.

In this order, so that it can be repeated after a crash: the tombstone with what is to be removed (from then on nobody lists,
reads or queries the campaign, whatever is left of it), the objects, the folders (moved out of the way, then removed), the
tombstone with what was removed.

Nouns: *tombstone* (what is still known of a campaign that was purged), *holding* (the objects that a campaign keeps alive).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.config.campaign import read_yaml
from evolve.home.home import CONFIG_FILE, LOCK_FILE
from evolve.home.origins import key_of, origin_of
from evolve.side_files import (
    COUNT_OR_NONE,
    MOMENT_OR_NONE,
    TEXT,
    TEXTS,
    check_fields,
    read_record,
)
from population.clock import Clock
from population.encoding.cid import cid_of_digest
from population.errors import DamageError, InputError, Locked, NotFound, StorageError
from population.store.objects import links_of, object_path

if TYPE_CHECKING:
    from evolve.home.home import Home
    from population.files.local_files import FileSystem

#: Of a campaign's summary, what its tombstone keeps.
KEPT = ("seed", "state", "generations", "evaluations", "population", "lineage", "champion", "campaign_key", "benchmark")
#: What a damaged file of a campaign raises, its config among them.
_UNREADABLE = (DamageError, InputError, StorageError)


def tombstones(home: Home, unread: Callable[[str], None]) -> list[dict[str, Any]]:
    """Returns what is still known of purged campaigns, by handle.

    Args:
        unread: gets a message for each tombstone that cannot be read; it is left out.
    """
    found = []
    for path in sorted(home.tombstones_root.glob("*.json")):
        try:
            found.append(_read(home.files, path))
        except (DamageError, StorageError) as error:
            unread(str(error))
    return found


def purge(home: Home, handle: str, clock: Clock, *, is_forced: bool = False) -> dict[str, Any]:
    """Returns the tombstone of a campaign that was removed now; a purge that was cut short goes on.

    Args:
        is_forced: also where it made a block that is in production (which stays in the store), or has forks (whose
            pedigree then ends with their founders), or where it is not known what another campaign needs (all objects stay).

    Raises:
        NotFound: there is no such campaign. Locked: a campaign of this home runs. InputError: it is needed. DamageError,
            StorageError: what another campaign needs cannot be read; nothing was removed.
    """
    path = home.tombstones_root / f"{handle}.json"
    begun = _read(home.files, path) if home.files.exists(path) else None
    if begun is not None and begun["purged"] is not None:
        raise NotFound(f"campaign {handle!r} was purged before, see `evolve status --purged`")
    if begun is None and handle not in home.campaigns():
        raise NotFound(f"no campaign {handle!r} in {home.root}; there are: {', '.join(home.campaigns()) or 'none yet'}")
    home.check_current()
    with ExitStack() as locks:
        left = [handle] if begun is not None and home.campaign_dir(handle).is_dir() else []
        for name in (*home.campaigns(), *left):  # their drivers write objects that this one may share
            locks.enter_context(_nobody_drives(home, name))
        held = _held_by_others(home, handle, is_forced=is_forced)
        if begun is None:
            if not is_forced:
                _check_needed(home, handle)
            begun = {**_facts(home, handle), "objects": sorted(_holding(home, handle, _UNREADABLE)), "purged": None}
            _write(home, path, begun)
        removed, size = (0, 0) if held is None else _remove_objects(home, begun.get("objects", []), held)
        _remove_folders(home, handle)
        facts = {name: value for name, value in begun.items() if name != "objects"}
        tombstone = {**facts, "objects_removed": removed, "bytes_removed": size, "purged": clock.now()}
        _write(home, path, tombstone)
    return tombstone


def _nobody_drives(home: Home, handle: str) -> Any:
    try:
        lock = home.files.lock(home.campaign_dir(handle) / LOCK_FILE)
        with ExitStack() as held:
            held.enter_context(lock)
            return held.pop_all()
    except Locked as error:
        raise Locked(f"campaign {handle!r} runs ({error}); stop it first, nothing was removed") from error


def _check_needed(home: Home, handle: str) -> None:
    """Raises InputError where a head stands on one of its blocks, or a fork on its members."""
    heads, made = home.heads(), _blocks_of(home, handle)
    for stage in heads.stages():
        for name in heads.names(stage):
            head = heads.current(name, stage)
            if head is not None and head.block in made:
                raise InputError(
                    f"{handle!r} made the block that {name!r} points to ({stage}): promote another first, or give --force: "
                    "the block stays, where it came from is then not known any more"
                )
    others = (name for name in home.campaigns() if name != handle)
    forks = [name for name in others if (origin := origin_of(home, name)) and origin.campaign == handle]
    if forks:
        raise InputError(
            f"{', '.join(forks)} was forked from {handle!r}: purge it first, or give --force: the fork goes on, its pedigree "
            "then ends with its founders"
        )


def _facts(home: Home, handle: str) -> dict[str, Any]:
    try:
        summary: Mapping[str, Any] = home.summary_of(handle) or {}
        state = home.recorded_state(handle)
    except (DamageError, StorageError):
        summary, state = {}, None
    key = ""
    with suppress(*_UNREADABLE):  # a damaged campaign can be purged too
        key = key_of(home, handle).hex()
    return {"campaign": handle, **dict.fromkeys(KEPT), "campaign_key": key, "state": state} | {
        name: summary[name] for name in KEPT if summary.get(name) is not None
    }


def _held_by_others(home: Home, handle: str, *, is_forced: bool) -> set[str] | None:
    """Returns the objects that other campaigns keep alive; None where one of them cannot be read and that is accepted."""
    held: set[str] = set()
    for other in home.campaigns():
        if other == handle:
            continue
        try:
            held |= _holding(home, other)
        except _UNREADABLE as error:
            if is_forced:
                return None
            kind = StorageError if isinstance(error, StorageError) else DamageError
            raise kind(
                f"it is not known what campaign {other!r} needs, nothing was removed: {error} (or purge that one first, or "
                "give --force: all rows and blocks then stay in the store)"
            ) from error
    return held


def _holding(home: Home, handle: str, skipped: tuple[type[Exception], ...] = ()) -> set[str]:
    """Returns the objects of the store that a campaign keeps alive.

    Args:
        skipped: errors that are passed over; what an unreadable file names is left out then.
    """
    store, digests, found = home.block_store(), set(), set()
    with suppress(*skipped):
        origin = origin_of(home, handle)
        digests |= {founder.digest for founder in origin.founders} if origin else set()
    with suppress(NotFound, *skipped):
        for commit in home.lineage_reader().commits(handle):
            digests |= {bytes.fromhex(d) for births in commit.births for d in births.weights_digest if d}
            for row in commit.rows.get("blocks", ()):
                found |= set(_with_leaves(home, str(row["block"])))
    with suppress(*skipped):
        found |= _data_of(home, handle)
    packs = store.packs()
    found |= {cid for cid in (cid_of_digest(digest, "raw") for digest in digests) if store.has(cid)}
    return found | {name for name in packs.names() if not digests.isdisjoint(packs.digests(name))}


def _data_of(home: Home, handle: str) -> set[str]:
    """Returns the object that holds the data of a campaign, also where its config is one of another version."""
    path = home.campaign_dir(handle) / CONFIG_FILE
    section = read_yaml(path).get("data")
    digest = section.get("digest") if isinstance(section, Mapping) else None
    if not digest:
        return set()
    if not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
        raise DamageError(
            f"{path}: data.digest is {str(digest)[:80]!r}, expected 64 hex digits; put it back from a copy"
        )
    cid = cid_of_digest(bytes.fromhex(digest), "raw")
    return {cid} if home.block_store().has(cid) else set()


def _blocks_of(home: Home, handle: str) -> set[str]:
    found: set[str] = set()
    with suppress(DamageError, NotFound):
        for commit in home.lineage_reader().commits(handle):
            found |= {str(row["block"]) for row in commit.rows.get("blocks", ())}
    return found


def _with_leaves(home: Home, block: str) -> Iterator[str]:
    store = home.block_store()
    if store.has(block):
        yield block
        with suppress(DamageError):
            yield from links_of(store.get_manifest(block))


def _remove_objects(home: Home, objects: list[str], held_by_others: set[str]) -> tuple[int, int]:
    """Removes what nobody else holds; returns how many objects, and their bytes."""
    held, heads = set(held_by_others), home.heads()
    promoted = {head.block for s in heads.stages() for name in heads.names(s) for head in heads.history(name, s)}
    for block in (set(home.block_store().list_blocks()) - set(objects)) | promoted:
        held |= set(_with_leaves(home, block))
    count = size = 0
    packs = home.block_store().packs()
    for cid in objects:
        paths = (object_path(home.store_root, cid), *packs.paths(cid))
        there = [path for path in paths if cid not in held and home.files.exists(path)]
        for path in there:
            size += home.files.size(path)
            home.files.remove(path)
        count += bool(there)
    return count, size


def _remove_folders(home: Home, handle: str) -> None:
    aside = home.tombstones_root / f"{handle}.removed"
    for place in (home.lineage_root / handle, home.campaign_dir(handle)):
        home.files.remove_tree(place, aside)


def _write(home: Home, path: Path, value: Mapping[str, Any]) -> None:
    home.files.write_atomic(path, json.dumps(dict(value), indent=2).encode() + b"\n", mode=0o644, replace=True)


#: Of a tombstone; ``objects`` names what a purge that was begun removes, each by its content id.
_NEEDED = {"campaign": TEXT, "campaign_key": TEXT, "purged": MOMENT_OR_NONE}
_OPTIONAL = {"seed": COUNT_OR_NONE, "evaluations": COUNT_OR_NONE, "generations": COUNT_OR_NONE, "objects": TEXTS}


def _read(files: FileSystem, path: Path) -> dict[str, Any]:
    remedy = "put it back from a copy"
    value = read_record(files, path, remedy)
    check_fields(value, path, remedy, _NEEDED, _OPTIONAL)
    return value
