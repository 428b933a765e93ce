"""Begins a new campaign from a committed step of another: its members are adopted, judged anew, and searched on from.

The fork is a campaign like any other: its first births are ``adopt`` recipes whose parents are individuals of the origin, so
the pedigree runs across; its key follows from its config, the origin's key, the step and the founders.

Nouns: none beyond *origin* and *founder*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evolve.config.campaign import CampaignConfig
from evolve.planning.load_data import located
from evolve.planning.origin import Founder, Origin, origin_of, row_reader
from evolve.planning.plan import Plan, make_plan
from evolve.recovery.rebuild import read_records, rebuild_rows
from evolve.recovery.replay import replay
from evolve.strategies import Batch, Judged, Outcome, Problem, Proposal, Strategy
from population.errors import ConfigError, InputError

if TYPE_CHECKING:
    from evolve.home.home import Home

#: Sections of a config without which the founders mean nothing.
FIXED = ("benchmark", "data", "graph")


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
        proposals = [self._adopted(p, event) for event, p in zip(batch.events, batch.proposals, strict=True)]
        return state, replace(batch, proposals=tuple(proposals))

    def _adopted(self, proposal: Proposal, event: int) -> Proposal:
        if proposal.operator != "init@1" or event >= self.founders:
            return proposal
        return Proposal("adopt@1", (-event - 1,), ("origin",), 0, "{}")

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


def plan_of(home: Home, handle: str) -> Plan:
    """Returns the plan of a campaign of this home, forked or not."""
    return with_origin(make_plan(located(home.config_of(handle), home)), origin_of(home, handle))


def make_origin(home: Home, handle: str, step: int | None, config: CampaignConfig) -> Origin:
    """Returns the origin of a fork with this config at a committed step (None: the newest); its rows are in the store then.

    Raises:
        InputError: there is no such step, or nobody lives at it. ConfigError: the config changes what may not change, or the
            members' bits cannot be had in this environment.
    """
    check_fixed(home.config_of(handle), config)
    plan = plan_of(home, handle)
    reader = home.lineage_reader()
    commits = list(reader.commits(handle)) if handle in reader.handles() else []
    last = len(commits) - 1
    at = last if step is None else step
    if not 0 <= at <= last:
        raise InputError(f"{handle}@{at}: there is no such step; {handle!r} has the steps 0 to {last}")
    state = replay(plan, commits[: at + 1])
    members = [event for event in plan.strategy.members(state.strategy) if event in state.digests]
    if not members:
        raise InputError(f"{handle}@{at}: nobody lives at this step yet; choose a later one")
    shelf = home.block_store()
    rebuilt = rebuild_rows(plan, read_records(plan, commits[: at + 1]), members, row_reader(home))
    for event in members:
        if rebuilt.digests[event] != state.digests[event]:
            raise ConfigError(
                f"{handle}@{at}: its members come out with other bits in this environment; fork it where it was computed"
            )
    shelf.put_many([rebuilt.rows[event] for event in members])
    founders = [Founder(plan.individual(e), state.digests[e], dict(state.widths[e])) for e in members]
    return Origin(handle, plan.key.hex(), at, tuple(founders), row_reader(home))


def check_fixed(before: CampaignConfig, after: CampaignConfig) -> None:
    """Raises ConfigError where a fork's config changes what may not change."""
    for name in FIXED:
        if before.hashed.get(name) != after.hashed.get(name):
            raise ConfigError(
                f"{name}: a fork keeps the {name} of its origin, since its founders were made for it; leave it out, or begin "
                "a campaign of its own with `evolve run`"
            )


def founder_rows(plan: Plan, events: Sequence[int]) -> dict[int, bytes]:
    """Returns the rows of those of the events that name founders. Raises NotFound where the store has lost one."""
    return {event: plan.origin.row(event) for event in events if event < 0} if plan.origin else {}
