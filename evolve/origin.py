"""Where a forked campaign comes from: the individuals that it begins with, named as in the campaign they were born in.

It lies beside the fork's config, as one of the fork's inputs, and in the first event of its log. The rows lie in the block
store under their digests: a fork needs nothing else of its origin, and outlives it.

Nouns: *origin*, *founder* (an individual of the origin that the fork begins with; negative event numbers name them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from evolve.side_files import read_record
from population.cbor import encode
from population.errors import DamageError, NotFound

if TYPE_CHECKING:
    from evolve.home import Home

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
    from evolve.publish import kept_row

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


def imported_founders(home: Home) -> set[str]:
    """Returns the individuals that came in from outside, and so have no ancestors."""
    origins = [origin_of(home, handle) for handle in home.campaigns()]
    return {founder.individual for origin in origins if origin and origin.is_import for founder in origin.founders}
