"""Begins a new campaign from a committed step of another: its members are adopted, judged anew, and searched on from.

The fork is a campaign like any other: its first births are ``adopt`` recipes whose parents are individuals of the origin, so
the pedigree runs across; its key follows from its config, the origin's key, the step and the founders.

Nouns: none beyond *origin* and *founder*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evolve.config.campaign import CampaignConfig
from evolve.home.origins import row_reader
from evolve.planning.origin import Founder, Origin
from evolve.recovery.forked_plan import plan_of
from evolve.recovery.rebuild import read_records, rebuild_rows
from evolve.recovery.replay import replay
from population.errors import ConfigError, InputError

if TYPE_CHECKING:
    from evolve.home.home import Home

#: Sections of a config without which the founders mean nothing.
FIXED = ("benchmark", "data", "graph")


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
