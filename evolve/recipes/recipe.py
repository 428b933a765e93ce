"""A candidate is its recipe: what a strategy proposes, what a work unit carries, what the lineage keeps, what is replayed.

A work unit carries the recipes of its candidates by columns (``evolve.recipes.work_units``), and so does the lineage
(``evolve.campaign.lineage_rows``).

Nouns: *recipe*, *settings* (an operator's resolved hyperparameters, as canonical JSON text).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from population.lineage.format.records import Births


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one candidate is made, of which parents: ``child = recipe(parents)`` is a pure function.

    Attributes:
        operator: name and version, ``"gaussian@1"``.
        parents: event numbers, in the order in which the operator takes them; negative ones name founders.
        roles: what each parent is to the operator, as the lineage says it.
        seed: 64 bits; 0 for an operator that draws nothing.
        settings: canonical JSON text of every hyperparameter, defaults included.
        inputs: BLAKE3 digests of the data it reads beside parents: training rows, or a recorded score vector.
    """

    operator: str
    parents: tuple[int, ...]
    roles: tuple[str, ...]
    seed: int
    settings: str
    inputs: tuple[bytes, ...] = ()

    @staticmethod
    def of_birth(births: Births, row: int, events: Mapping[str, int]) -> Recipe:
        """Returns the recipe of a birth in the lineage.

        Args:
            events: individual id -> event number, for every parent. Raises KeyError where one is missing.
        """
        return Recipe(
            births.operator[row],
            tuple(events[parent] for parent in births.parents[row]),
            tuple(births.roles[row]),
            int(births.seed[row]),
            births.settings[row],
            tuple(bytes.fromhex(digest) for digest in births.inputs[row]),
        )

    @property
    def unseeded(self) -> Recipe:
        """The same recipe without seed and roles: equal ones of an operator that draws nothing give the same child."""
        return Recipe(self.operator, self.parents, (), 0, self.settings, self.inputs)


def canonical_settings(settings: Mapping[str, Any]) -> str:
    """Returns settings as canonical JSON: sorted keys, no blanks, shortest round-trip floats, no NaN."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.lru_cache(maxsize=1 << 13)
def individual_id(campaign_key: bytes, event: int) -> str:
    """Returns the id of one birth in one campaign: 32 hex characters of BLAKE3(campaign key, event number)."""
    return blake3(campaign_key + event.to_bytes(8, "little"), derive_key_context="evolve 2026 individual id").hexdigest(
        length=16
    )


def settings_value(text: str) -> dict[str, Any]:
    """Returns the plain values of a canonical settings text."""
    values: dict[str, Any] = json.loads(text)
    return values
