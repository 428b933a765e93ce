"""The plan of a campaign that began with founders: a fork of another campaign, or a search on an imported model.

Nouns: none beyond *origin* and *founder*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evolve.home.kept_data import located
from evolve.home.origins import origin_of
from evolve.planning.origin import Origin
from evolve.planning.plan import Plan, make_plan
from evolve.recipes.batch import Batch
from evolve.recipes.recipe import Recipe
from evolve.strategies import Judged, Outcome, Problem, Strategy

if TYPE_CHECKING:
    from evolve.config.campaign import CampaignConfig
    from evolve.home.home import Home


@dataclass(frozen=True)
class Adopting:
    """A strategy whose first individuals are the founders, as far as they go, in the place of new ones."""

    inner: Strategy[Any]
    founders: int

    @property
    def window(self) -> int:
        """How many batches may be outstanding at once."""
        return self.inner.window

    def start(self, problem: Problem) -> Any:
        """Returns the state before the first birth."""
        return self.inner.start(problem)

    def ask(self, state: Any, first_event: int) -> tuple[Any, Batch]:
        """Returns the next batch, founders in the place of first individuals."""
        state, batch = self.inner.ask(state, first_event)
        recipes = [self._adopted(p, event) for event, p in zip(batch.events, batch.recipes, strict=True)]
        return state, replace(batch, recipes=tuple(recipes))

    def _adopted(self, recipe: Recipe, event: int) -> Recipe:
        if recipe.operator != "init@1" or event >= self.founders:
            return recipe
        return Recipe("adopt@1", (-event - 1,), ("origin",), 0, "{}")

    def tell(self, state: Any, batch: Batch, judged: Judged) -> tuple[Any, Outcome]:
        """Returns the state after a batch was judged, and what became of its births."""
        return self.inner.tell(state, batch, judged)

    def members(self, state: Any) -> tuple[int, ...]:
        """Returns the events of the population, best first."""
        return self.inner.members(state)

    def generation(self, state: Any) -> int:
        """Returns how many generations are complete."""
        return self.inner.generation(state)

    def shares(self, state: Any) -> Mapping[str, float]:
        """Returns the probability of each operator of the portfolio."""
        return self.inner.shares(state)


def with_origin(plan: Plan, origin: Origin | None) -> Plan:
    """Returns the plan of a fork; the same plan where there is no origin."""
    if origin is None:
        return plan
    key = origin.key(plan.key)
    strategy = Adopting(plan.strategy, len(origin.founders))
    return replace(plan, key=key, problem=replace(plan.problem, key=key), strategy=strategy, origin=origin)


def plan_in(home: Home, config: CampaignConfig, *, handle: str | None = None, origin: Origin | None = None) -> Plan:
    """Returns the plan of a config for this home, whose copy of its data is read where it has one.

    Args:
        handle: the campaign of the home that the config belongs to; its origin is known.
        origin: begin with the members of another campaign.

    Raises: as ``make_plan``; DamageError: the record of a fork cannot be read.
    """
    return with_origin(make_plan(located(config, home)), origin if handle is None else origin_of(home, handle))


def plan_of(home: Home, handle: str) -> Plan:
    """Returns the plan of a campaign of this home, forked or not."""
    return plan_in(home, home.config_of(handle), handle=handle)


def founder_rows(plan: Plan, events: Sequence[int]) -> dict[int, bytes]:
    """Returns the rows of those of the events that name founders. Raises NotFound where the store has lost one."""
    return {event: plan.origin.row(event) for event in events if event < 0} if plan.origin else {}
