"""Where a forked campaign comes from: the individuals that it begins with, named as in the campaign they were born in.

It lies beside the fork's config, as one of the fork's inputs, and in the first event of its log. The rows lie in the block
store under their digests: a fork needs nothing else of its origin, and outlives it.

Nouns: *origin*, *founder* (an individual of the origin that the fork begins with; negative event numbers name them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from population.encoding.cbor import encode
from population.errors import NotFound

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


# ---- where pedigrees end -------------------------------------------------------------------------------------------------
