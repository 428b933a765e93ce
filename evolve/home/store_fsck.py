"""Checks a home's store: every object, pack and head, and what campaigns and forks need of it.

Nouns: *check* and *damage* (as in ``population.store.damage``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evolve.home.origins import origin_of
from evolve.home.purge import tombstones
from population.encoding.cid import cid_of_digest
from population.errors import DamageError, InputError, NotFound, StorageError
from population.files.memory_files import TEMPORARY_PREFIX
from population.store.check import check_store

if TYPE_CHECKING:
    from evolve.home.home import Home
    from population.store.damage import StoreReport


def check_home(home: Home, progress: Callable[[int, int], None] = lambda done, total: None) -> StoreReport:
    """Returns what of the store is not what was written. Nothing is written, campaigns may run meanwhile.

    Raises: NewerHome: a newer version wrote the store.
    """
    check = _checked(home, progress)
    if any(damage.kind == "missing" for damage in check.damaged):  # a purge may have removed it while we read
        check = _checked(home, progress)
    return check


def _checked(home: Home, progress: Callable[[int, int], None]) -> StoreReport:
    from population.blocks.block import TensorBlock

    notes: list[str] = []
    needed = _needed(home, notes)
    check = check_store(
        home.files, home.root, home.keys_root, needed=needed, build=TensorBlock.from_manifest, progress=progress
    )
    removing = _half_purged(home, notes)
    damaged = [d for d in check.damaged if d.heads or d.kind != "missing" or d.object not in removing]
    left = sum(1 for path in home.store_root.rglob(f"{TEMPORARY_PREFIX}*") if path.is_file())
    if left:
        notes.append(f"{left} temporary files of killed or running writers; readers ignore them")
    return replace(check, damaged=tuple(damaged), notes=(*check.notes, *notes))


def _half_purged(home: Home, notes: list[str]) -> set[str]:
    """Returns the objects that purges under way, or cut short, are removing."""
    removing: set[str] = set()
    for tombstone in tombstones(home, notes.append):
        if tombstone["purged"] is None:
            name = tombstone["campaign"]
            notes.append(f"the purge of {name} is under way or was cut short: repeat `evolve purge` to finish it")
            removing |= set(tombstone.get("objects", ()))
    return removing


def _needed(home: Home, notes: list[str]) -> dict[str, str]:
    """Returns what campaigns need of the store, by CID, and who needs it."""
    needed: dict[str, str] = {}
    for handle in home.campaigns():
        try:
            needed.update(_needed_by(home, handle))  # on an error, what came before it stays
        except (DamageError, InputError, StorageError) as error:
            notes.append(f"it is not known what else campaign {handle} needs: {error} (see evolve fsck lineage)")
    return needed


def _needed_by(home: Home, handle: str) -> Iterator[tuple[str, str]]:
    """Yields what a campaign needs, and who needs it; raises where the next file cannot be read."""
    who = f"campaign {handle}"
    with suppress(NotFound):  # nothing committed yet
        for row in home.lineage_reader().rare_rows(handle, "blocks"):
            yield str(row["block"]), who
    origin = origin_of(home, handle)
    for founder in origin.founders if origin else ():
        yield cid_of_digest(founder.digest, "raw"), f"{who}, which begins with it"
    config = home.config_of(handle)
    if config.data is not None and config.data.digest:
        yield cid_of_digest(bytes.fromhex(config.data.digest), "raw"), f"{who}, as its data"
    if config.model is not None and config.model.block:
        yield config.model.block, f"{who}, as its model"


def to_value(check: StoreReport) -> dict[str, Any]:
    """Returns a check as plain values."""
    return {
        "ok": check.is_whole,
        "objects": check.objects,
        "packs": check.packs,
        "heads": check.heads,
        "damaged": [
            {
                "object": each.object,
                "kind": each.kind,
                "heads": list(each.heads),
                "standing": list(each.standing),
                "needed_by": list(each.needed_by),
                "file": str(each.path),
                "what": each.what,
            }
            for each in check.damaged
        ],
        "unreadable": [{"file": str(path), "what": what} for path, what in check.unreadable],
        "notes": list(check.notes),
    }
