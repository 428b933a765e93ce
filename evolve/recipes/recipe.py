"""A candidate is its recipe: operator, parents, inputs, seed and settings, canonically encoded and named by its digest.

``child = recipe.apply(parents)`` is a pure function; the recipe is at once what crosses the wire, the lineage edge and the
archive. Nouns: *recipe*, and *settings* (an operator's resolved hyperparameters, as canonical JSON text).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from population.encoding.cbor import decode, encode
from population.errors import FormatError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Recipe:
    """How one candidate was made.

    Attributes:
        operator: name and version, ``"gaussian@1"``.
        parents: individual ids (32 hex characters), in the order in which the operator takes them.
        inputs: hex digests of the data it reads: training rows, or a recorded score vector.
        seed: 64 bits; 0 for an operator that draws nothing.
        settings: canonical JSON text of every hyperparameter, defaults included.
    """

    operator: str
    parents: tuple[str, ...]
    inputs: tuple[str, ...]
    seed: int
    settings: str

    def encode(self) -> bytes:
        """Returns the canonical bytes: a DAG-CBOR list ``[version, operator, parents, inputs, seed, settings]``.

        The seed is written as 8 big-endian bytes, since DAG-CBOR readers in other languages stop at 63 bits.
        """
        seed = self.seed.to_bytes(8, "big")
        return encode(
            [
                FORMAT_VERSION,
                self.operator,
                [bytes.fromhex(p) for p in self.parents],
                [bytes.fromhex(i) for i in self.inputs],
                seed,
                self.settings,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Recipe:
        """Reads ``encode``'s bytes. Raises FormatError for anything else."""
        value = decode(data)
        if not isinstance(value, list) or len(value) != 6 or value[0] != FORMAT_VERSION:
            raise FormatError(
                f"recipe: expected a list of 6 entries that begins with {FORMAT_VERSION}, got {value!r:.80}"
            )
        _, operator, parents, inputs, seed, settings = value
        if not (isinstance(operator, str) and isinstance(settings, str) and isinstance(seed, bytes) and len(seed) == 8):
            raise FormatError("recipe: operator and settings must be text and the seed 8 bytes")
        for name, entries in (("parents", parents), ("inputs", inputs)):
            if not isinstance(entries, list) or not all(isinstance(entry, bytes) for entry in entries):
                raise FormatError(f"recipe: {name} must be a list of byte strings")
        named, read = (tuple(entry.hex() for entry in entries) for entries in (parents, inputs))
        return cls(operator, named, read, int.from_bytes(seed, "big"), settings)

    @property
    def digest(self) -> bytes:
        """The BLAKE3 digest of the canonical bytes, 32 bytes."""
        return blake3(self.encode()).digest()


def canonical_settings(settings: Mapping[str, Any]) -> str:
    """Returns settings as canonical JSON: sorted keys, no blanks, shortest round-trip floats, no NaN."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.lru_cache(maxsize=1 << 13)
def individual_id(campaign_key: bytes, event: int) -> str:
    """Returns the id of one birth in one campaign: 32 hex characters of BLAKE3(campaign key, event number)."""
    return blake3(campaign_key + event.to_bytes(8, "little"), derive_key_context="evolve 2026 individual id").hexdigest(
        length=16
    )
