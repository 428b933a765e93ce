"""What is judged together: recipes that are not born yet, and what the whole batch shares.

Noun: *batch* (recipes judged alike and told together).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evolve.recipes.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """Proposals that are judged alike and told together.

    Attributes:
        split: "train" where the children are samples that only steer a distribution, "validation" where they compete.
        keep: whether the children may become parents, so that their rows must be held.
        steers: whether the search follows from these scores; a distribution's centre is judged only to be known.
        objects: bytes that the recipes read, by BLAKE3 digest (a recorded score vector).
        seed: what training episodes follow from, where a simulator is played; the campaign sets it.
    """

    first_event: int
    recipes: tuple[Recipe, ...]
    split: str = "validation"
    keep: bool = True
    steers: bool = True
    objects: Mapping[bytes, bytes] = field(default_factory=dict)
    seed: int = 0

    @property
    def events(self) -> range:
        """The event numbers of the births."""
        return range(self.first_event, self.first_event + len(self.recipes))
