"""Where the campaigns of a home come from, and where their pedigrees end.

Noun: *leaf* (an ancestor that has no row in this home: a pedigree ends there).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evolve.planning.origin import Origin
from evolve.side_files import read_record
from population.errors import DamageError, InputError, NotFound, StorageError
from population.lineage.format.schema import HOME_HANDLE

if TYPE_CHECKING:
    from evolve.home.home import Home


ORIGIN_FILE = "fork.json"


def key_of(home: Home, handle: str) -> bytes:
    """Returns the campaign key: of the config that it was begun with, and of its origin where it was forked."""
    origin, key = origin_of(home, handle), home.config_of(handle).key
    return key if origin is None else origin.key(key)


def campaign_by_key(home: Home, key_hex: str) -> list[tuple[str, str]]:
    """Returns the (handle, state) of every campaign with this campaign key, the oldest first."""
    found = []
    for handle in home.campaigns():
        try:
            key = key_of(home, handle).hex()
        except (InputError, DamageError, StorageError):
            continue  # of another version, or damaged: its key is not known
        if key == key_hex:
            found.append((handle, home.state_of(handle)))
    return found


def row_reader(home: Home) -> Callable[[bytes], bytes | None]:
    """Returns what finds a row in the home's block store by its weights digest; it gives None where there is none."""
    from population.store.objects import kept_row

    store = home.block_store()
    packs = store.packs()
    return lambda digest: kept_row(store, packs, digest)


def origin_of(home: Home, handle: str) -> Origin | None:
    """Returns where a campaign was forked from, or None. Raises DamageError where that cannot be read."""
    path = home.campaign_dir(handle) / ORIGIN_FILE
    if not home.files.exists(path):
        return None
    remedy = "put it back from a copy"
    try:
        origin = Origin.from_value(read_record(home.files, path, remedy), row_reader(home))
        bytes.fromhex(origin.campaign_key)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DamageError(f"{path}: not a record of a fork ({str(error)[:200]!r}); {remedy}") from error
    return origin


@dataclass(frozen=True)
class Leaf:
    """What is known of an ancestor that has no row in this home.

    Attributes:
        what: "imported model", "purged campaign" or "not in this home".
        campaign: where it was born; empty for an import, or where that is not known.
        block: the block that it came in as, where it is known.
    """

    what: str
    campaign: str = ""
    block: str | None = None

    def __str__(self) -> str:
        if not self.campaign:
            return self.what
        return f"{self.what} {self.campaign}" if self.what == PURGED else f"{self.what}, born in {self.campaign}"


IMPORTED, PURGED, UNKNOWN = "imported model", "purged campaign", "not in this home"


def leaves_of(home: Home, unread: Callable[[str], None]) -> dict[str, Leaf]:
    """Returns what is known of the founders of this home's campaigns, for those of them that have no row here.

    Args:
        unread: gets a message for each campaign whose record of a fork cannot be read; its founders are left out.
    """
    found: dict[str, Leaf] = {}
    for handle in home.campaigns():
        try:
            found |= _leaves(home, handle)
        except (DamageError, StorageError) as error:
            unread(f"the founders of campaign {handle!r} are not known: {error}")
    return found


def leaf_of(home: Home, campaign: str) -> Leaf:
    """Returns what to say of an individual that was born in a campaign which is not here."""
    is_purged = (home.tombstones_root / f"{campaign}.json").exists()
    return Leaf(PURGED if is_purged else UNKNOWN, campaign)


def leaf_named(home: Home, individual: str) -> Leaf | None:
    """Returns what is known of an individual that has no row here: a founder's, or what a decision about a head names.

    Raises DamageError where nothing names it, and a record of a fork cannot be read.
    """
    unread: list[str] = []
    founders = leaves_of(home, unread.append)
    if individual in founders:
        return founders[individual]
    with suppress(NotFound):  # nothing was ever decided
        for row in home.lineage_reader().rare_rows(HOME_HANDLE, "promotions"):
            if row.get("individual") == individual and row.get("campaign"):
                return leaf_of(home, str(row["campaign"]))
    if unread:
        raise DamageError(unread[0])
    return None


def _leaves(home: Home, handle: str) -> dict[str, Leaf]:
    origin = origin_of(home, handle)
    if origin is None:
        return {}
    leaf = Leaf(IMPORTED, block=_model_of(home, handle)) if origin.is_import else leaf_of(home, origin.campaign)
    return {founder.individual: leaf for founder in origin.founders}


def _model_of(home: Home, handle: str) -> str | None:
    """Returns the block of the model that a campaign improves."""
    with suppress(InputError):  # a config of another version names no model that is known
        model = home.config_of(handle).model
        return (model.block or None) if model is not None else None
    return None
