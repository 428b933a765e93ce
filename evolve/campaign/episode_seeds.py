"""What episodes change of a campaign: each generation meets episodes of its own, and finalists are judged on others.

Who competes in the search competes on training episodes, drawn anew for every generation, so that nobody is chosen for being
lucky in the same few; a member keeps the score of the episodes it was born into. Validation episodes are met by what is only
to be known (the centre of a distribution) and, at the end, by the finalists, which are taken over as they are.

Nouns: *finalist*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evolve.planning.plan import Plan
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe, canonical_settings
from fitness.benchmarks.episodes import Episodes
from population.randomness import derive_seed

#: How many members are finalists where the config has no tiers, which would say: many, since the order of members, who met
#: episodes of different generations, is partly luck.
DEFAULT_FINALISTS = 16


def as_played(plan: Plan, batch: Batch, generation: int) -> Batch:
    """Returns a batch with the episodes that it meets; one that is judged on rows is returned as it is."""
    if not isinstance(plan.benchmark, Episodes):
        return batch
    split = "train" if batch.steers else batch.split
    return replace(batch, split=split, seed=derive_seed(plan.key, generation, 0, "episodes"))


def finals_of(plan: Plan, members: Sequence[int], first_event: int) -> Batch:
    """Returns the best members taken over as they are, to be judged on validation episodes.

    Args:
        members: events of the population, best first.
    """
    tiers = plan.config.tiers
    chosen = members[: tiers.finalists if tiers is not None else DEFAULT_FINALISTS]
    nothing = canonical_settings({})
    return Batch(first_event, tuple(Recipe("adopt@1", (event,), ("parent",), 0, nothing) for event in chosen))
