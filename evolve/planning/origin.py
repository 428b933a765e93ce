"""Where a forked campaign comes from: the individuals that it begins with, named as in the campaign they were born in.

It lies beside the fork's config, as one of the fork's inputs, and in the first event of its log. The rows lie in the block
store under their digests: a fork needs nothing else of its origin, and outlives it.

Nouns: *origin*, *founder* (an individual of the origin that the fork begins with; negative event numbers name them), *leaf*
(an ancestor that has no row in this home: a pedigree ends there).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from evolve.side_files import read_record
from population.encoding.cbor import encode
from population.errors import DamageError, InputError, NotFound, StorageError
from population.lineage.format.schema import HOME_HANDLE

if TYPE_CHECKING:
    from evolve.home.home import Home

ORIGIN_FILE = "fork.json"
VERSION = 1


@dataclass(frozen=True)
class Founder:
    """An individual of the origin: its id there, its weights digest, its live widths."""

    individual: str
    digest: bytes
    widths: Mapping[str, int]


@dataclass(frozen=True)
class Origin:
    """The step of another campaign that this one begins with; without a campaign's name, a model that came in.

    Attributes:
        read: returns a founder's row bytes by digest, or None.
    """

    campaign: str
    campaign_key: str
    step: int
    founders: tuple[Founder, ...]
    read: Callable[[bytes], bytes | None] = field(default=lambda digest: None, compare=False, repr=False)

    @property
    def is_import(self) -> bool:
        """Whether the founders came in from outside and were born in no campaign."""
        return not self.campaign

    def key(self, config_key: bytes) -> bytes:
        """Returns the campaign key of a fork with this config: handles do not count, bits do."""
        founders = [[founder.individual, founder.digest] for founder in self.founders]
        value = encode([config_key, bytes.fromhex(self.campaign_key), self.step, founders])
        return blake3(value, derive_key_context="evolve 2026 campaign key of a fork").digest()

    def founder(self, event: int) -> Founder:
        """Returns the founder that a negative event number names: -1 is the first."""
        return self.founders[-event - 1]

    def row(self, event: int) -> bytes:
        """Returns the row of a founder. Raises NotFound where the store has lost it."""
        founder = self.founder(event)
        found = self.read(founder.digest)
        if found is None:
            raise NotFound(
                f"the row of individual {founder.individual}, which this fork of {self.campaign!r} began with, is not in the "
                "block store: put the object back from a copy of the home"
            )
        return found

    def to_value(self) -> dict[str, Any]:
        """Returns the origin as plain values."""
        founders = [
            {"individual": f.individual, "digest": f.digest.hex(), "widths": dict(f.widths)} for f in self.founders
        ]
        facts = {"campaign": self.campaign, "campaign_key": self.campaign_key, "step": self.step}
        return {"version": VERSION, **facts, "founders": founders}

    @staticmethod
    def from_value(value: Mapping[str, Any], read: Callable[[bytes], bytes | None]) -> Origin:
        """Returns the origin of plain values. Raises KeyError, TypeError or ValueError for others."""
        founders = tuple(
            Founder(str(f["individual"]), bytes.fromhex(f["digest"]), {str(s): int(w) for s, w in f["widths"].items()})
            for f in value["founders"]
        )
        return Origin(str(value["campaign"]), str(value["campaign_key"]), int(value["step"]), founders, read)


def row_reader(home: Home) -> Callable[[bytes], bytes | None]:
    """Returns what finds a row in the home's block store by its weights digest; it gives None where there is none."""
    from evolve.recovery.shelf import kept_row

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


# ---- where pedigrees end -------------------------------------------------------------------------------------------------


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
